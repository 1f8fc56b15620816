"""Rows of a source's table as a batch of calls, by the same rules as the rows of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
import polars as pl

from ai_services.enrichment.reading.cells import cells_from_table
from ai_services.enrichment.reading.columns import fold, likely
from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.reading.read_file import Batch
from ai_services.enrichment.sources.databases.database import Table
from ai_services.enrichment.sources.databases.identifier import is_identifier
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from ai_services.enrichment.validation.record import REQUIRED
from ai_services.enrichment.validation.reject import make_reject
from ai_services.enrichment.validation.rules import Conventions
from ai_services.enrichment.validation.validate import check_cells
from shared.errors import Detail, InvalidInput

_GONE: Final = frozenset({"1", "true", "t", "yes", "y"})


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read of a table: its columns, and which of them a call's fields come from.

    `fields`: field (or a column that the preset reads) → place in `names`. `deleted` is the place of
    the mark of rows that were deleted.
    """

    names: Sequence[str]
    fields: Mapping[str, int]
    deleted: int | None = None


def columns_of(
    table: Table, preset: Preset, *, order: Sequence[str], deleted: str | None
) -> Columns:
    """Choose them. InvalidInput that names what is missing, with what it may be called now; and for a
    map that joins legs, which come by files: their last row would be taken for the call.
    """
    if preset.group_by is not None:
        fix = "export the table to a file, or make a view with one row per call"
        raise InvalidInput.of("group_by", "is read from files only", fix)
    found = {fold(name): name for name in table.columns}
    wanted = {name: name for name in preset.reads} if preset.derive else preset.sources
    required = set(wanted) if preset.derive else {*REQUIRED, "duration_ms"}
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
    return Columns(names, places, names.index(deleted) if deleted else None)


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
    how = Conventions(
        now=now,
        timezone=preset.timezone or timezone,
        time_formats=preset.time_formats,
        duration_unit=preset.duration_unit,
        country=preset.country or country,
    )
    checked = check_cells(cells.frame, how, cells.broken_turns)
    rejects = [
        make_reject(
            one.line, one.problem, _raw(rows[one.line - first_line], columns, place),
            one.phone, one.callid,
        )
        for one in (*cells.failures, *checked.failures)
    ]  # fmt: skip
    rejects.sort(key=lambda one: one.line)
    frame, replaced = checked.frame, dict[int, str]()
    if frame["callid"].n_unique() < frame.height:
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


def _raw(row: Sequence[str | None], columns: Columns, place: str) -> str:
    return orjson.dumps({"table": place, **dict(zip(columns.names, row, strict=True))}).decode()
