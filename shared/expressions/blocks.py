"""Rows by columns, for numpy: the values of each field, and where they are null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.expressions.schema import Schema

Array = NDArray[Any]
TYPES: Final[Mapping[str, Any]] = {
    "int": np.int64,
    "float": np.float64,
    "text": object,
    "bool": bool,
}
_NOTHING: Final[Mapping[str, Any]] = {"int": 0, "float": 0.0, "text": "", "bool": False}


@dataclass(frozen=True, slots=True)
class Column:
    """Values, and which of them are null (None: none of them); what stands where null is means nothing.

    Of conditions what is null is unknown, and its value is False.
    """

    values: Array
    null: Array | None = None

    def part(self, start: int, end: int) -> Column:
        null = None if self.null is None else self.null[start:end]
        return Column(self.values[start:end], null if null is not None and null.any() else None)


@dataclass(frozen=True, slots=True)
class Counts:
    """A map of counts by columns: one for each key, null where a row's map lacks it."""

    keys: Mapping[str, Column]
    null: Array | None = None

    def part(self, start: int, end: int) -> Counts:
        keys = {key: column.part(start, end) for key, column in self.keys.items()}
        return Counts(keys, None if self.null is None else self.null[start:end])


Columns = Mapping[str, Column | Counts]


def columns(schema: Schema, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """The columns of rows, each as `Schema.row` gives it."""
    return {
        one.name: _counts([row[one.name] for row in rows])
        if one.type == "counts"
        else column(one.type, [row[one.name] for row in rows])
        for one in schema.fields
    }


def column(of_type: str, values: Sequence[Any]) -> Column:
    """The column of values of one type, each of them within its bounds or None."""
    null = np.fromiter((value is None for value in values), bool, len(values))
    filled = [_NOTHING[of_type] if value is None else value for value in values]
    array = np.empty(len(values), TYPES[of_type])
    array[:] = filled
    return Column(array, null if null.any() else None)


def _counts(maps: Sequence[Mapping[str, int] | None]) -> Counts:
    keys = {key for one in maps if one is not None for key in one}
    found = {
        key: column("int", [None if one is None else one.get(key) for one in maps]) for key in keys
    }
    null = np.fromiter((one is None for one in maps), bool, len(maps))
    return Counts(found, null if null.any() else None)
