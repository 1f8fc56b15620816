"""Queries to a source, put together from checked names; every value is a parameter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ai_services.enrichment.sources.databases.identifier import quoted


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    values: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """By which columns a table is walked over, so that a place in it is their values: a time and a
    unique key, or that key alone. `types` are those of the source, for what needs them.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """Rows whose `column` is at least `first` and below `end`, as the source writes times; of those the
    ones without a value in the column `lacks`, if that is named.
    """

    column: str
    type: str
    first: str | None
    end: str | None
    lacks: str | None = None


_WHOLE: Final = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_DIGITS: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
Position = tuple[str, ...]  # the values of an order's columns in the last row that was read


class Dialect:
    """How one kind of database writes names, parameters and texts."""

    mark: str = "`"

    def name(self, name: str) -> str:
        return quoted(name, self.mark)

    def text(self, column: str) -> str:
        """A column's value as text: what is checked is what files hold, too."""
        return f"CAST({self.name(column)} AS CHAR)"

    def value(self, number: int, type_: str) -> str:
        """The parameter `number` (from 1), given as text, where a value of this type is meant."""
        del number, type_
        return "%s"

    def parameter(self, value: str, type_: str) -> str | int:
        """What is sent for a value: MySQL compares a whole number with a text as floating point,
        which tells ids of 17 digits from each other no more.
        """
        return int(value) if type_ in _WHOLE and _DIGITS.fullmatch(value) else value

    def page(
        self,
        table: str,
        columns: Sequence[str],
        order: Order,
        window: Window,
        after: Position | None,
        rows: int,
    ) -> Statement:
        """The next rows after a place: never OFFSET, which reads again what it passes over."""
        asked = _Asked(self)
        conditions = _within(asked, window)
        if after is not None:
            conditions.append(_behind(asked, order, after))
        where = " AND ".join(conditions) or "1 = 1"
        parts = (
            _SELECT, ", ".join(map(self.text, columns)), "FROM", self.name(table), "WHERE", where,
            "ORDER BY", ", ".join(map(self.name, order.columns)), f"LIMIT {int(rows)}",
        )  # fmt: skip
        return Statement(" ".join(parts), asked.values)

    def count(self, table: str, window: Window) -> Statement:
        asked = _Asked(self)
        where = " AND ".join(_within(asked, window)) or "1 = 1"
        parts = (_SELECT, "count(*)", "FROM", self.name(table), "WHERE", where)
        return Statement(" ".join(parts), asked.values)

    def matching(
        self, table: str, columns: Sequence[str], key: str, keys: Sequence[str], order: str | None
    ) -> Statement:
        """The rows of these keys, by key, then by `order`."""
        asked = _Asked(self)
        wanted = ", ".join(asked.value(one, "text") for one in keys)
        by = [self.name(key), *([self.name(order)] if order else [])]
        parts = (
            _SELECT, ", ".join(map(self.text, columns)), "FROM", self.name(table),
            "WHERE", self.key(key), "IN", f"({wanted})", "ORDER BY", ", ".join(by),
        )  # fmt: skip
        return Statement(" ".join(parts), asked.values)

    def key(self, column: str) -> str:
        """A column that is compared with callids, which are text here."""
        return self.name(column)


class PostgresDialect(Dialect):
    mark = '"'

    def text(self, column: str) -> str:
        return f"{self.name(column)}::text"

    def value(self, number: int, type_: str) -> str:
        return f"${number}::text" if type_ == "text" else f"${number}::text::{quoted(type_, '')}"

    def parameter(self, value: str, type_: str) -> str | int:
        del type_  # the query casts it
        return value

    def key(self, column: str) -> str:
        return f"{self.name(column)}::text"


_SELECT: Final = "SELECT"


class _Asked:
    """The parameters of a statement that is being put together."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.values: list[str | int] = []
        self.name = dialect.name

    def value(self, value: str, type_: str) -> str:
        self.values.append(self._dialect.parameter(value, type_))
        return self._dialect.value(len(self.values), type_)


def _within(asked: _Asked, window: Window) -> list[str]:
    column, conditions = asked.name(window.column), list[str]()
    if window.first is not None:
        conditions.append(f"{column} >= {asked.value(window.first, window.type)}")
    if window.end is not None:
        conditions.append(f"{column} < {asked.value(window.end, window.type)}")
    if window.lacks is not None:
        conditions.append(f"{asked.name(window.lacks)} IS NULL")
    return conditions


def _behind(asked: _Asked, order: Order, after: Position) -> str:
    """Written out: MySQL makes no range of an index from (a, b) > (x, y)."""
    (*leading, key), (*leading_types, key_type) = order.columns, order.types
    *places, place = after
    if not leading:
        return f"{asked.name(key)} > {asked.value(place, key_type)}"
    (time,), (type_,), (at,) = leading, leading_types, places
    name = asked.name(time)
    return (
        f"{name} >= {asked.value(at, type_)} AND "
        f"({name} > {asked.value(at, type_)} OR {asked.name(key)} > {asked.value(place, key_type)})"
    )
