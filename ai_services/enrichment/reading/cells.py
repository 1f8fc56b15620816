"""Bring the cells of a table, or the values of JSON objects, under the fields' names.

Both give `Cells`, which `check_cells` validates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from ai_services.enrichment.legs.rows import GROUP, LEG_ID
from ai_services.enrichment.reading.json_object import WrittenNumber
from ai_services.enrichment.reading.presets.preset import Derive, Preset
from ai_services.enrichment.reading.translate import translate
from ai_services.enrichment.reading.turns import (
    NOT_FINITE,
    Transcript,
    TurnShape,
    left_out_of,
    parse_turns,
    text_flaw,
)
from ai_services.enrichment.validation.record import FIELDS, OPTIONAL
from ai_services.enrichment.validation.reject import Problem, excerpt
from ai_services.enrichment.validation.validate import Failure

_SCALARS: Final = (*(name for name in FIELDS if name != "turns"), GROUP, LEG_ID)


@dataclass(slots=True)
class Cells:
    """`frame` has `line`, fields and `customer_turns`; the others are what can't be read:
    transcripts, by line, and whole rows; and, by line, what was left out of a row.
    """

    frame: pl.DataFrame
    broken_turns: dict[int, Problem] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    remarks: list[tuple[int, Problem]] = field(default_factory=list)


def cells_from_table(table: pl.DataFrame, preset: Preset, derive: Derive | None) -> Cells:
    """`table` has `line` and fields (or, for `derive`, the columns that the preset reads)."""
    if derive is not None:
        rows = ((row.pop("line"), row) for row in table.iter_rows(named=True))
        return derive_cells(rows, derive)
    frame = translate(table, preset)
    if "turns" not in frame.columns or frame["turns"].null_count() == frame.height:
        return Cells(frame.drop("turns", strict=False))
    read = _Turns(preset.turns)
    for line, value in zip(frame["line"].to_list(), frame["turns"].to_list(), strict=True):
        read.add(line, value)
    return Cells(read.beside(frame), read.broken, remarks=read.remarks)


def derive_cells(rows: Iterable[tuple[int, Mapping[str, Any]]], derive: Derive) -> Cells:
    """Rows of a foreign file, in file order, through the code of a built-in preset."""
    values: list[tuple[int, Mapping[str, Any]]] = []
    failures: list[Failure] = []
    for line, row in rows:
        derived = derive(row)
        if isinstance(derived, Problem):
            failures.append(Failure(line, derived, None))
        else:
            values.append((line, derived))
    cells = cells_from_values(values, TurnShape())
    cells.failures += failures
    return cells


def cells_from_values(
    rows: Iterable[tuple[int, Mapping[str, Any]]], shape: TurnShape, names: Sequence[str] = _SCALARS
) -> Cells:
    """Decoded JSON values by name of the field, or part of one; whatever type a value has, it is
    kept or told.
    """
    columns: dict[str, list[str | None]] = {name: [] for name in names if name != "turns"}
    lines: list[int] = []
    turns = _Turns(shape)
    failures: list[Failure] = []
    for line, values in rows:
        row = _scalars(values, columns, line, turns.remarks)
        if isinstance(row, Problem):
            phone = values.get("phone")
            number = None if phone is None else str(phone)
            failures.append(Failure(line, row, number, values.get("callid")))
            continue
        lines.append(line)
        for column, text in zip(columns.values(), row, strict=True):
            column.append(text)
        turns.add(line, values.get("turns"))
    frame = pl.DataFrame(
        [
            pl.Series("line", lines, dtype=pl.UInt64),
            *(pl.Series(name, column, dtype=pl.String) for name, column in columns.items()),
        ]
    )
    return Cells(turns.beside(frame), turns.broken, failures, turns.remarks)


class _Turns:
    """The transcripts of rows, one after another."""

    def __init__(self, shape: TurnShape) -> None:
        self._shape = shape
        self._texts: list[str | None] = []
        self._counts: list[int] = []
        self.broken: dict[int, Problem] = {}
        self.remarks: list[tuple[int, Problem]] = []

    def add(self, line: int, value: object) -> None:
        transcript = parse_turns(value, self._shape)
        text, count = None, 0
        if isinstance(transcript, Transcript):
            text, count = transcript.json, transcript.customer_turns
            if transcript.left_out:
                self.remarks.append((line, left_out_of(transcript)))
        elif transcript is not None:
            self.broken[line] = transcript
        self._texts.append(text)
        self._counts.append(count)

    def beside(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The other cells of the rows, with their transcripts."""
        return frame.with_columns(
            pl.Series("turns", self._texts, dtype=pl.String),
            pl.Series("customer_turns", self._counts, dtype=pl.Int64),
        )


def _scalars(
    values: Mapping[str, Any],
    names: Iterable[str],
    line: int,
    remarks: list[tuple[int, Problem]],
) -> list[str | None] | Problem:
    """The row's values as text; the Problem of a row that is damaged, or lacks what it needs."""
    row: list[str | None] = []
    for name in names:
        value = values.get(name)
        if value is None:
            row.append(None)
        elif isinstance(value, str):
            if flaw := text_flaw(value):
                shown = excerpt(value).encode(errors="replace").decode()
                return Problem(name, shown, *flaw)
            row.append(value)
        elif isinstance(value, WrittenNumber):
            if not value.is_finite:
                return Problem(name, excerpt(value.text), *NOT_FINITE)
            row.append(value.text)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            row.append(str(value))
        elif name in OPTIONAL:
            remarks.append((line, _wrong_type(name, value)))
            row.append(None)
        else:
            return _wrong_type(name, value)
    return row


def _wrong_type(name: str, value: object) -> Problem:
    kind = {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), "no text")
    return Problem(name, excerpt(repr(value)), f"is {kind}", "write text or a number")
