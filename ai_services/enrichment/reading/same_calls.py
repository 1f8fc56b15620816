"""Rows of one file that have the same callid: the last one counts, and what it contradicts is told.

A switch that writes a line for each leg of a call gives them one id, and so does a spreadsheet that
rounds ids. Equal rows are no news.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from ai_services.enrichment.validation.reject import Problem

# Whose call it was, when, how it ended, and what of it is counted.
_COMPARED: Final = ("user_id", "started_at", "call_status", "duration_ms", "bill_ms", "rounds")
_SEEN: Final = {"key": pl.UInt64(), "what": pl.UInt64(), "line": pl.UInt64()}
_MOST_SEEN: Final = 1_000_000  # rows before, 24 bytes each
_FIX: Final = (
    "give every call a callid of its own, or keep the row that counts; if they are legs of one call, "
    "name the column that they have in common in a column map (group_by)"
)


class SameCalls:
    """Goes through the rows of a file, batch after batch, and remembers those before."""

    def __init__(self) -> None:
        self._seen = pl.DataFrame(schema=_SEEN)

    def last_of_each(
        self, rows: pl.DataFrame
    ) -> tuple[pl.DataFrame, Mapping[int, str], list[tuple[int, Problem]]]:
        """The rows that count; line → callid of those of this batch that a later one replaces; and, by
        line, what each row contradicts in the rows before it.
        """
        kept, replaced, told = rows, {}, []
        if rows["callid"].n_unique() < rows.height:
            kept = rows.unique("callid", keep="last", maintain_order=True)
            left_out = rows.join(kept, on="line", how="anti")
            replaced = dict(zip(left_out["line"], left_out["callid"], strict=True))
            told = _contradicted(left_out, kept)
        return kept, replaced, [*told, *self._contradicted_before(kept)]

    def _contradicted_before(self, rows: pl.DataFrame) -> list[tuple[int, Problem]]:
        """By the last row of the batches before that says something else; which of the columns differs is
        not remembered.
        """
        now = rows.select(
            pl.col("callid").hash().alias("key"),
            pl.struct(_COMPARED).hash().alias("what"),
            "line",
        )
        earlier = self._remember(now)
        pairs = now.join(earlier, on="key", suffix="_before")
        pairs = pairs.filter(pl.col("what") != pl.col("what_before"))
        if pairs.is_empty():
            return []
        nearest = pairs.group_by("line").agg(pl.col("line_before").max()).sort("line")
        callids = dict(rows.select("line", "callid").iter_rows())
        return [
            (line, _problem(callids[line], before, "another user, time, status or figure"))
            for line, before in nearest.iter_rows()
        ]

    def _remember(self, now: pl.DataFrame) -> pl.DataFrame:
        """Put rows to those seen; the earlier ones with their callids. Of a callid two rows that differ
        are enough to know whether the next contradicts one: all of them would be compared with all.
        """
        again = self._seen.join(now, on="key", how="semi")
        if again.is_empty():
            self._seen = pl.concat([self._seen, now]).tail(_MOST_SEEN)
            return again
        others = self._seen.join(now, on="key", how="anti")
        different = (
            pl.concat([again, now])
            .sort("line")
            .unique(["key", "what"], keep="last", maintain_order=True)
            .group_by("key", maintain_order=True)
            .tail(2)
        )
        self._seen = pl.concat([others, different.select(_SEEN.keys())]).tail(_MOST_SEEN)
        return again


def _contradicted(left_out: pl.DataFrame, kept: pl.DataFrame) -> list[tuple[int, Problem]]:
    pairs = left_out.join(kept, on="callid", suffix="_kept").with_columns(
        (pl.col(name).ne_missing(pl.col(f"{name}_kept"))).alias(f"{name}_differs")
        for name in _COMPARED
    )
    pairs = pairs.filter(pl.any_horizontal(f"{name}_differs" for name in _COMPARED))
    told = []
    for row in pairs.iter_rows(named=True):
        differing = ", ".join(name for name in _COMPARED if row[f"{name}_differs"])
        told.append(
            (row["line_kept"], _problem(row["callid"], row["line"], f"another {differing}"))
        )
    return told


def _problem(callid: str, earlier: int, what: str) -> Problem:
    return Problem(
        "callid", callid, f"is in line {earlier} as well, which has {what} and is replaced", _FIX
    )
