"""The use case of costs: what an organisation's attempts came to, by day, model, purpose, user or key."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, get_args
from uuid import UUID

from ai_services.llm.spend import costs_store
from ai_services.llm.spend.attempt import Outcome
from ai_services.llm.spend.costs_store import GroupBy, Sums
from shared.data_access.ports import Relational
from shared.errors import InvalidInput

MAX_DAYS: Final = 1_100  # three years
MAX_GROUPS: Final = 20_000
OUTCOMES: Final = (*get_args(Outcome), "reserved")
_DAYS: Final = 30
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Costs:
    """Sums of the days `first`…`last`, local to the organisation, in all and by group.

    Groups by day are all days in their order, those without attempts too; others come costliest
    first. '' is the group of attempts by nobody of the kind.
    """

    group_by: GroupBy
    first: date
    last: date
    total: Sums
    groups: Sequence[tuple[str, Sums]]

    def csv(self) -> str:
        """A line per group, after a header; outcomes are columns."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        tokens = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
        writer.writerow([self.group_by, "attempts", *tokens, "cost", "reserved_cost", *OUTCOMES])
        for key, one in self.groups:
            counts = [one.attempts, one.input, one.output, one.cached, one.reasoning]
            outcomes = [one.outcomes.get(outcome, 0) for outcome in OUTCOMES]
            money = [f"{one.cost:.8f}", f"{one.reserved:.8f}"]
            writer.writerow([_cell(key), *counts, *money, *outcomes])
        return text.getvalue()


async def costs(
    relational: Relational,
    org_id: UUID,
    group_by: GroupBy,
    first: date | None = None,
    last: date | None = None,
) -> Costs:
    """Costs of the days `first`…`last`, both included; without, the 30 days up to today.

    Raises InvalidInput for days in the wrong order, too many of them, or too many groups in them.
    """
    async with relational.tenant(org_id, readonly=True) as tx:
        last = last or await costs_store.today(tx, org_id)
        first = first or _days_before(last, _DAYS - 1)
        _check_days(first, last)
        groups = await costs_store.sums(tx, org_id, group_by, first, last, MAX_GROUPS + 1)
    if len(groups) > MAX_GROUPS:
        problem = f"there are more than {MAX_GROUPS} groups by {group_by} in these days"
        raise InvalidInput.of("group_by", problem, "send a later `from` or an earlier `to`")
    total = _total(one for _, one in groups)
    if group_by == "day":
        by_day = dict(groups)
        days = (first + n * _DAY for n in range((last - first).days + 1))
        groups = [(day.isoformat(), by_day.get(day.isoformat(), Sums())) for day in days]
    return Costs(group_by, first, last, total, groups)


def _days_before(day: date, days: int) -> date:
    """The calendar begins with the year 1."""
    return date.fromordinal(max(1, day.toordinal() - days))


def _check_days(first: date, last: date) -> None:
    if first > last:
        raise InvalidInput.of("from", f"{first} comes after `to`, {last}", "exchange them")
    if (last - first).days >= MAX_DAYS:
        problem = f"{first} to {last} are more than {MAX_DAYS} days"
        raise InvalidInput.of("from", problem, "send a later `from` or an earlier `to`")


def _total(groups: Iterable[Sums]) -> Sums:
    groups = list(groups)
    outcomes: Counter[str] = Counter()
    for one in groups:
        outcomes.update(one.outcomes)
    return Sums(
        attempts=sum(one.attempts for one in groups),
        input=sum(one.input for one in groups),
        output=sum(one.output for one in groups),
        cached=sum(one.cached for one in groups),
        reasoning=sum(one.reasoning for one in groups),
        cost=sum((one.cost for one in groups), Decimal(0)),
        reserved=sum((one.reserved for one in groups), Decimal(0)),
        outcomes=dict(outcomes),
    )


def _cell(text: str) -> str:
    """A text that a spreadsheet takes for a formula is written so that it doesn't (OWASP)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
