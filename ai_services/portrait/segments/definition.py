"""What a segment is: a condition, and over whose portraits of which period it is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from ai_services.portrait.computing.overdue import last_ended
from ai_services.portrait.dimension import DIMENSIONS, Dimension
from ai_services.portrait.period import PeriodType, of_date
from ai_services.portrait.segments.fields import FIELDS
from shared.errors import InvalidInput
from shared.expressions.check import check
from shared.expressions.sql import Sql, sql
from shared.expressions.terms import Term

# `newest`: the one that runs, or the last before it with calls. `ended`: the last that is over.
Which = Literal["newest", "ended"]
BY_NAME: Final[Mapping[str, Dimension]] = {whose.name: whose for whose in DIMENSIONS}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TAKEN: Final = ("test", "overlap")  # routes beside the names


@dataclass(frozen=True, slots=True)
class Definition:
    """`dimension` is the name of one."""

    dimension: str
    period_type: PeriodType
    period: Which
    expression: str
    description: str

    @property
    def whose(self) -> Dimension:
        return dimension(self.dimension)

    def condition(self) -> Term:
        """ExpressionInvalid where the expression is none, or names what isn't there."""
        return check(self.expression, FIELDS[self.whose].schema)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as it is kept; `size` and what follows are of the last time its members were found."""

    name: str
    definition: Definition
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: str
    size: int | None
    period_key: str | None
    refreshed_at: datetime | None
    found_version: int | None
    problem: str | None


def dimension(name: str) -> Dimension:
    """InvalidInput for what is none."""
    found = BY_NAME.get(name)
    if found is None:
        problem = f"there is no dimension {name[:60]!r}"
        raise InvalidInput.of("dimension", problem, f"send one of {', '.join(BY_NAME)}")
    return found


def checked_name(name: str) -> str:
    """InvalidInput for what can't be the name of a segment."""
    if _NAME.fullmatch(name) is None:
        fix = "write 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit"
        raise InvalidInput.of("name", f"{name[:64]!r} is no name of a segment", fix)
    if name in _TAKEN:
        raise InvalidInput.of("name", f"{name!r} is a route of the API", "choose another name")
    return name


def lowered(condition: Term, whose: Dimension, *, first: int) -> Sql:
    """The condition over the snapshot `s`."""
    return sql(condition, FIELDS[whose].sql, first=first)


def bound(which: Which, period_type: PeriodType, today: date) -> str:
    """The key of the period that is meant on a day; of `newest`, the last that it may be."""
    if which == "ended":
        return last_ended(period_type, today).key
    return of_date(period_type, today).key
