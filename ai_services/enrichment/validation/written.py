"""What spreadsheets do to the values of cells, undone where that can be.

`="0138…"` and a leading `'` keep a value text; `1.38E+10` is a number that was shown rounded, whose
digits nobody can bring back; `13812345678.0` is one that was read as a number.
"""

from __future__ import annotations

import re
from typing import Final

import polars as pl

ROUNDED: Final = (
    "a spreadsheet has rounded it: its last digits are lost",
    "format the column as text in the spreadsheet, and export it again",
)
# An id that was a number: 1.23457E+17. A plain 1e5 may be an id in hexadecimal digits.
RUINED_ID: Final = r"^[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]{1,3}$"
_POWER: Final = re.compile(r"([0-9])(?:[.,]([0-9]+))?[eE]\+?([0-9]{1,3})")
_WHOLE: Final = re.compile(r"(\+?[0-9]{3,})\.0+")
_FORMULA: Final = r'(?s)^=\s*"(.*)"$'


def exact_number(text: str) -> str | None:
    """The digits of a number that a spreadsheet wrote; "" where it has rounded them; None for what
    isn't written so.
    """
    if whole := _WHOLE.fullmatch(text):
        return whole[1]
    power = _POWER.fullmatch(text)
    if power is None:
        return None
    first, rest, exponent = power[1], power[2] or "", int(power[3])
    if len(rest) < exponent or rest[exponent:].strip("0"):
        return ""
    return first + rest[:exponent]


def without_formula(cells: pl.Series) -> pl.Series:
    """`="0138"` → `0138`, as spreadsheets are made to keep a text."""
    if cells.dtype != pl.String or not cells.str.starts_with("=").any():
        return cells
    inner = cells.str.strip_chars().str.extract(_FORMULA).str.replace_all('""', '"', literal=True)
    return pl.select(pl.coalesce(inner, cells).alias(cells.name)).to_series()


def without_apostrophe(cells: pl.Series) -> pl.Series:
    """`'0138` → `0138`: the mark by which spreadsheets are told that digits are text."""
    if cells.dtype != pl.String or not cells.str.starts_with("'").any():
        return cells
    return cells.str.replace(r"^'([0-9+]+)$", "${1}")
