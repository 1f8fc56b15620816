"""What a column map says about the values of cells: null tokens, value maps, constants, and which
columns are one field together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from ai_services.enrichment.reading.presets.preset import ALLOWED_VALUES, DEFAULT, Preset
from ai_services.enrichment.validation.written import without_formula

_KEPT: Final = ("line", "turns", "customer_turns")
_MIDNIGHT: Final = r"[T ]00:00(?::00)?(?:\.0+)?$"


def translate(cells: pl.DataFrame, preset: Preset) -> pl.DataFrame:
    """The cells as the fields of a call record would have them; transcripts stay as they are."""
    nulls = sorted({token.strip().lower() for token in preset.null_values})
    changed = [
        cell
        for cell in (
            _plain(cells[name], nulls)
            for name in cells.columns
            if name not in _KEPT and name not in preset.constants
        )
        if cell is not None
    ]
    cells = cells.with_columns(changed) if changed else cells
    for name, parts in preset.joined.items():
        cells = _join(cells, name, parts)
    mapped = [
        _mapped(cells[name], values, ALLOWED_VALUES.get(name, ()))
        for name, values in preset.values.items()
        if name in cells.columns and name not in preset.constants
    ]
    constants = [pl.lit(value).alias(name) for name, value in preset.constants.items()]
    return cells.with_columns(*mapped, *constants)


def _plain(cells: pl.Series, nulls: Sequence[str]) -> pl.Series | None:
    """Without the formula of a spreadsheet, and null where a token means nothing; None if unchanged."""
    if cells.dtype != pl.String:
        return None
    plain = without_formula(cells)
    if not nulls:
        return None if plain is cells else plain
    stripped = plain.str.strip_chars()
    is_null = stripped.str.to_lowercase().is_in(nulls)
    return pl.select(pl.when(~is_null).then(stripped).alias(cells.name)).to_series()


def _join(cells: pl.DataFrame, name: str, parts: Sequence[str]) -> pl.DataFrame:
    """A date and a time of day in their own columns, a blank between them. A workbook's date has a
    midnight of its own, which goes.
    """
    have = [part for part in (name, *parts) if part in cells.columns]
    if not have:
        return cells
    first, *rest = (pl.col(part).cast(pl.String).str.strip_chars() for part in have)
    texts = [first.str.replace(_MIDNIGHT, "") if rest else first, *rest]
    joined = pl.concat_str(texts, separator=" ", ignore_nulls=True)
    filled = pl.when(joined.str.strip_chars() != "").then(joined)
    return cells.with_columns(filled.alias(name)).drop(part for part in have if part != name)


def _mapped(cells: pl.Series, values: Mapping[str, str], allowed: Sequence[str]) -> pl.Series:
    """Values are known as they are written, or else in any case; what isn't known stays, or is the
    default. A value that a record may have stays in any case.
    """
    cell = pl.lit(cells.cast(pl.String)).str.strip_chars()
    exact = {key.strip(): value for key, value in values.items() if key != DEFAULT}
    folded = {key.lower(): value for key, value in reversed(exact.items())}
    lower = cell.str.to_lowercase()
    other = cell
    if (default := values.get(DEFAULT)) is not None:
        ours = lower.is_in([word.lower() for word in allowed])
        other = pl.when(cell.is_null() | (cell == "") | ours).then(cell).otherwise(pl.lit(default))
    return pl.select(
        pl.coalesce(_looked_up(cell, exact), _looked_up(lower, folded), other).alias(cells.name)
    ).to_series()


def _looked_up(cell: pl.Expr, values: Mapping[str, str]) -> pl.Expr:
    return cell.replace_strict(
        list(values), list(values.values()), default=None, return_dtype=pl.String
    )
