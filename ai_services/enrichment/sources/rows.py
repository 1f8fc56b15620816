"""Rows of a source's table as a batch of calls, by the same rules as the rows of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import orjson
import polars as pl

from ai_services.enrichment.legs.rows import GROUP, LEG_ID
from ai_services.enrichment.reading.cells import cells_from_table
from ai_services.enrichment.reading.columns import fold, likely
from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.reading.read_file import Batch, check_part
from ai_services.enrichment.sources.databases.database import Table
from ai_services.enrichment.sources.databases.identifier import is_identifier
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from ai_services.enrichment.validation.record import REQUIRED
from ai_services.enrichment.validation.reject import make_reject
from ai_services.enrichment.validation.rules import Conventions
from shared.errors import Detail, InvalidInput

_GONE: Final = frozenset({"1", "true", "t", "yes", "y"})


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read of a table: its columns, and which of them a call's fields come from.

    `fields`: field (or a column that the preset reads) → place in `names`. `deleted` is the place of
    the mark of rows that were deleted, `key` those of what a row is known by.
    """

    names: Sequence[str]
    fields: Mapping[str, int]
    deleted: int | None = None
    key: Sequence[int] = ()


def columns_of(
    table: Table, preset: Preset, *, by: str, key: Sequence[str], deleted: str | None
) -> Columns:
    """Choose them: `by` and `key` are what the table is walked over by. InvalidInput that names what is
    missing, with what it may be called now.
    """
    order = (by, *key)
    found = {fold(name): name for name in table.columns}
    reads = {name: name for name in (*preset.reads, *preset.may_read)}
    wanted = reads if preset.derive else preset.sources
    required = set(preset.reads) if preset.derive else {*REQUIRED, "duration_ms", GROUP}
    chosen = {
        field: found[fold(source)] for field, source in wanted.items() if fold(source) in found
    }
    missing = [wanted[field] for field in wanted if field in required and field not in chosen]
    missing += [
        name for name in (*order, *([deleted] if deleted else [])) if name not in table.columns
    ]
    if missing:
        raise _missing(table, list(dict.fromkeys(missing)))
    for name in chosen.values():
        if not is_identifier(name):
            raise InvalidInput.of(
                f"{table.name}.{name}", "can't be read by that name",
                "make a view whose columns are letters, digits and _",
            )  # fmt: skip
    names = list(dict.fromkeys([*chosen.values(), *order, *([deleted] if deleted else [])]))
    places = {field: names.index(name) for field, name in chosen.items()}
    marks = names.index(deleted) if deleted else None
    return Columns(names, places, marks, [names.index(name) for name in key])


def _missing(table: Table, names: Sequence[str]) -> InvalidInput:
    details = []
    for name in names:
        near = likely(name, table.columns)
        fix = f"map {near!r} in its place" if near else "map another column in its place"
        details.append(Detail(f"{table.name}.{name}", "there is no such column", fix))
    have = ", ".join(list(table.columns)[:50])
    told = "; ".join(f"{one.field}: {one.problem}, {one.fix}" for one in details)
    return InvalidInput(f"{told}. The table has {have}.", details=details)


@dataclass(frozen=True, slots=True)
class RowsRead:
    """A batch, and the callids of rows that their source has marked as deleted."""

    batch: Batch
    deleted: Sequence[str] = ()


def read_rows(
    rows: Sequence[Sequence[str | None]],
    columns: Columns,
    preset: Preset,
    turns: Mapping[str, str],
    *,
    place: str,
    first_line: int,
    now: datetime,
    timezone: str | None,
    country: str = DEFAULT_COUNTRY,
) -> RowsRead:
    """Check rows. `turns`: callid, as it stands in the row, → its transcript as JSON.

    `place` is the table, for whoever looks at what was refused; `first_line` numbers the rows.
    """
    table = _table(rows, columns, turns, first_line)
    deleted: list[str] = []
    if columns.deleted is not None:
        marks = [(row[columns.deleted] or "").strip().casefold() in _GONE for row in rows]
        gone = pl.Series("gone", marks, pl.Boolean)
        if "callid" in table.columns:
            deleted = [one.strip() for one in table.filter(gone)["callid"].to_list() if one]
        table = table.filter(~gone)
    cells = cells_from_table(table, preset, preset.derive() if preset.derive else None)
    if preset.group_by is not None:
        cells = replace(cells, frame=_known_by_key(cells.frame, rows, columns, first_line))
    how = Conventions(
        now=now,
        timezone=preset.timezone or timezone,
        time_formats=preset.time_formats,
        duration_unit=preset.duration_unit,
        country=preset.country or country,
    )
    checked = check_part(cells, preset, how)
    rejects = [
        make_reject(
            one.line, one.problem, _raw(rows[one.line - first_line], columns, place),
            one.phone, one.callid,
        )
        for one in (*cells.failures, *checked.failures)
    ]  # fmt: skip
    rejects.sort(key=lambda one: one.line)
    frame, replaced = checked.frame, dict[int, str]()
    if preset.group_by is None and frame["callid"].n_unique() < frame.height:
        frame = frame.unique("callid", keep="last", maintain_order=True)
        out = checked.frame.join(frame, on="line", how="anti")
        replaced = dict(zip(out["line"], out["callid"], strict=True))
    return RowsRead(Batch(frame, rejects, replaced, 0, checked.warnings), deleted)


def _table(
    rows: Sequence[Sequence[str | None]],
    columns: Columns,
    turns: Mapping[str, str],
    first_line: int,
) -> pl.DataFrame:
    by_place = list(zip(*rows, strict=True)) or [()] * len(columns.names)
    lines = pl.Series("line", range(first_line, first_line + len(rows)), pl.UInt64)
    series = [
        pl.Series(field, by_place[place], pl.String)
        for field, place in columns.fields.items()
        if field != "turns" or not turns
    ]
    if turns and "callid" in columns.fields:
        callids = by_place[columns.fields["callid"]]
        series.append(pl.Series("turns", [turns.get(one or "") for one in callids], pl.String))
    return pl.DataFrame([lines, *series])


def _known_by_key(
    cells: pl.DataFrame, rows: Sequence[Sequence[str | None]], columns: Columns, first_line: int
) -> pl.DataFrame:
    """Legs that nothing else tells apart are known by their row's key: a row that was corrected since
    replaces its leg.
    """
    keys = ["\x1f".join(row[place] or "" for place in columns.key) for row in rows]
    lines = range(first_line, first_line + len(rows))
    known = pl.DataFrame({"line": lines, "key": keys}, schema={"line": pl.UInt64, "key": pl.String})
    told = pl.col(LEG_ID).cast(pl.String) if LEG_ID in cells.columns else pl.lit(None, pl.String)
    return (
        cells.with_columns(pl.col("line").cast(pl.UInt64))
        .join(known, on="line", how="left", maintain_order="left")
        .with_columns(
            pl.when(told.str.strip_chars() != "").then(told).otherwise("key").alias(LEG_ID)
        )
        .drop("key")
    )


def _raw(row: Sequence[str | None], columns: Columns, place: str) -> str:
    return orjson.dumps({"table": place, **dict(zip(columns.names, row, strict=True))}).decode()
