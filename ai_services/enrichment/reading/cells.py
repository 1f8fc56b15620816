"""Bring the cells of a table, or the values of JSON objects, under the fields' names.

Both give `Cells`, which `check_cells` validates. Constants, value maps and null tokens of a
column map are applied here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from ai_services.enrichment.reading.json_object import WrittenNumber
from ai_services.enrichment.reading.presets.preset import Derive, Preset
from ai_services.enrichment.reading.turns import NOT_FINITE, TurnShape, parse_turns, text_flaw
from ai_services.enrichment.validation.record import FIELDS
from ai_services.enrichment.validation.reject import Problem, excerpt
from ai_services.enrichment.validation.validate import Failure

_SCALARS: Final = tuple(name for name in FIELDS if name != "turns")


@dataclass(slots=True)
class Cells:
    """`frame` has `line`, fields and `customer_turns`; the others are what can't be read:
    transcripts, by line, and whole rows.
    """

    frame: pl.DataFrame
    broken_turns: dict[int, Problem] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


def cells_from_table(table: pl.DataFrame, preset: Preset, derive: Derive | None) -> Cells:
    """`table` has `line` and fields (or, for `derive`, the columns that the preset reads)."""
    if derive is not None:
        rows = ((row.pop("line"), row) for row in table.iter_rows(named=True))
        return derive_cells(rows, derive)
    frame = translate(table, preset)
    if "turns" not in frame.columns or frame["turns"].null_count() == frame.height:
        return Cells(frame.drop("turns", strict=False))
    lines, texts, counts = frame["line"].to_list(), [], []
    broken: dict[int, Problem] = {}
    for line, value in zip(lines, frame["turns"].to_list(), strict=True):
        text, count = _read_turns(line, value, preset.turns, broken)
        texts.append(text)
        counts.append(count)
    return Cells(_with_turns(frame, texts, counts), broken)


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


def cells_from_values(rows: Iterable[tuple[int, Mapping[str, Any]]], shape: TurnShape) -> Cells:
    """Decoded JSON values by field name; whatever type a value has, it is kept or told."""
    columns: dict[str, list[str | None]] = {name: [] for name in _SCALARS}
    lines: list[int] = []
    texts: list[str | None] = []
    counts: list[int] = []
    broken: dict[int, Problem] = {}
    failures: list[Failure] = []
    for line, values in rows:
        row = _scalars(values)
        if isinstance(row, Problem):
            phone = values.get("phone")
            number = None if phone is None else str(phone)
            failures.append(Failure(line, row, number, values.get("callid")))
            continue
        lines.append(line)
        for column, text in zip(columns.values(), row, strict=True):
            column.append(text)
        transcript, count = _read_turns(line, values.get("turns"), shape, broken)
        texts.append(transcript)
        counts.append(count)
    frame = pl.DataFrame(
        [
            pl.Series("line", lines, dtype=pl.UInt64),
            *(pl.Series(name, column, dtype=pl.String) for name, column in columns.items()),
        ]
    )
    return Cells(_with_turns(frame, texts, counts), broken, failures)


def translate(cells: pl.DataFrame, preset: Preset) -> pl.DataFrame:
    """Apply a column map's null tokens, value maps and constants; transcripts stay as they are."""
    changed: list[pl.Expr] = []
    nulls = sorted(preset.null_values)
    skipped = {"line", "turns", "customer_turns", *preset.constants}
    for name in cells.columns:
        values = preset.values.get(name, {})
        if name in skipped or not (nulls or values):
            continue
        cell = pl.col(name)
        if cells.schema[name] != pl.String:
            if not values:
                continue
            cell = cell.cast(pl.String)
        cell = cell.str.strip_chars()
        if nulls:
            cell = pl.when(~cell.is_in(nulls)).then(cell)
        if values:
            cell = cell.replace(list(values), list(values.values()))
        changed.append(cell.alias(name))
    constants = [pl.lit(value).alias(name) for name, value in preset.constants.items()]
    return cells.with_columns(*changed, *constants)


def _with_turns(frame: pl.DataFrame, texts: list[str | None], counts: list[int]) -> pl.DataFrame:
    return frame.with_columns(
        pl.Series("turns", texts, dtype=pl.String),
        pl.Series("customer_turns", counts, dtype=pl.Int64),
    )


def _read_turns(
    line: int, value: object, shape: TurnShape, broken: dict[int, Problem]
) -> tuple[str | None, int]:
    transcript = parse_turns(value, shape)
    if isinstance(transcript, Problem):
        broken[line] = transcript
        return None, 0
    return transcript or (None, 0)


def _scalars(values: Mapping[str, Any]) -> list[str | None] | Problem:
    row: list[str | None] = []
    for name in _SCALARS:
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
        else:
            return _wrong_type(name, value)
    return row


def _wrong_type(name: str, value: object) -> Problem:
    kind = {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), "no text")
    return Problem(name, excerpt(repr(value)), f"is {kind}", "write text or a number")
