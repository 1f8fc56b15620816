"""Which periods a request for a computation means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Self

from ai_services.portrait.period import PERIOD_TYPES, PeriodType, of_date, parse, parse_any
from shared.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Requested:
    """All periods of these types that touch `first`…`last`; None = where calls end."""

    period_types: Sequence[PeriodType]
    first: date | None
    last: date | None

    def to_args(self) -> dict[str, Any]:
        """As the arguments of a job."""
        return {
            "period_types": list(self.period_types),
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
        }

    @classmethod
    def of_args(cls, args: Mapping[str, Any]) -> Self:
        """What `to_args` wrote."""
        first, last = args["first"], args["last"]
        return cls(
            tuple(args["period_types"]),
            first and date.fromisoformat(first),
            last and date.fromisoformat(last),
        )


def requested(
    period_type: Literal[PeriodType, "all"],
    period_key: str | None,
    first: date | None,
    last: date | None,
) -> Requested:
    """InvalidInput for a key together with dates, a key of another type, dates the wrong way round.

    A key's type need not be given: its form tells.
    """
    if period_key is not None:
        if first is not None or last is not None:
            raise InvalidInput.of(
                "period_key", "is given together with from or to", "send one or the other"
            )
        period = parse_any(period_key) if period_type == "all" else parse(period_type, period_key)
        return Requested((period.type,), period.start, period.end)
    if first is not None and last is not None and first > last:
        raise InvalidInput.of(
            "from", f"{first} comes after to ({last})", "send the earlier date as from"
        )
    for field, day in (("from", first), ("to", last)):
        if day is not None:
            of_date("month", day, field=field)  # refuses what no period can hold
    return Requested(PERIOD_TYPES if period_type == "all" else (period_type,), first, last)
