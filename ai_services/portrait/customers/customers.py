"""Finding customers, and the page of facts about one: the use cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final
from uuid import UUID

from ai_services.portrait import store
from ai_services.portrait.customers import store as customer_store
from ai_services.portrait.customers.best_time import BestTime, best_time
from ai_services.portrait.customers.promises import Promise, open_promises
from ai_services.portrait.customers.store import CustomerCall, Listed, Wanted
from ai_services.portrait.dimension import CUSTOMER, Subject
from ai_services.portrait.period import PERIOD_TYPES, Period, PeriodType, parse
from ai_services.portrait.service import Portrait, check_id, who
from shared.cursor import Listing, Page, word
from shared.data_access.ports import Relational, Transaction
from shared.errors import NotFound

LAST_CALLS: Final = 10
READ_CALLS: Final = 200  # the newest, in which promises and the best time are looked for
RISK_MONTHS: Final = 12
_ONE_WITH: Final = 100


async def find(
    relational: Relational,
    org_id: UUID,
    wanted: Wanted,
    period_type: PeriodType,
    period_key: str | None,
    *,
    cursor: str | None,
    limit: int,
) -> Page[Listed]:
    """Customers with calls in the period, the organisation's newest unless a key names another.

    One customer who is asked for is found in their own newest period; of one who was merged it is the
    other.
    """
    period = None if period_key is None else parse(period_type, period_key)
    listing = Listing("customers", (*map(str, _asked(wanted)), period_type, period_key), word)
    after = listing.position(cursor) or ""
    async with relational.tenant(org_id, readonly=True) as tx:
        if wanted.customer_id is not None:
            standing = await store.standing(tx, org_id, wanted.customer_id)
            wanted = replace(wanted, customer_id=standing)
            if standing is None:
                return Page([], None)
        key = await _newest(tx, org_id, wanted, period_type) if period is None else period.key
        if key is None:
            return Page([], None)
        found = await customer_store.list_customers(
            tx, org_id, period_type, key, wanted, after=after, limit=limit + 1
        )
    return listing.page(found, limit, lambda one: (one.customer_id,))


def _asked(wanted: Wanted) -> tuple[object, ...]:
    return (
        wanted.customer_id, wanted.min_total_calls, wanted.max_connect_rate, wanted.negative,
        wanted.high_complaint_risk, wanted.high_churn_risk,
    )  # fmt: skip


async def _newest(
    tx: Transaction, org_id: UUID, wanted: Wanted, period_type: PeriodType
) -> str | None:
    if wanted.customer_id is not None:
        return await store.newest_of(tx, org_id, Subject(CUSTOMER, wanted.customer_id), period_type)
    known = await store.summarised_range(tx, org_id, period_type)
    return None if known is None else known[1]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything on a customer's page. `calls` are the newest; `months` run from old to new.

    `as_of` is when a figure last changed, `changed_at` when one of these calls did: portraits follow.
    """

    customer_id: str
    one_with: Sequence[str]
    portraits: Mapping[PeriodType, Portrait | None]
    calls: Sequence[CustomerCall]
    months: Sequence[tuple[Period, store.Snapshot]]
    promises: Sequence[Promise]
    best_time: BestTime | None
    today: date

    @property
    def last_calls(self) -> Sequence[CustomerCall]:
        return self.calls[:LAST_CALLS]

    @property
    def as_of(self) -> datetime | None:
        known = [one.as_of for one in self.portraits.values() if one is not None and one.as_of]
        return max(known, default=None)

    @property
    def changed_at(self) -> datetime:
        return max(call.updated_at for call in self.calls)


async def facts(relational: Relational, org_id: UUID, customer_id: str) -> Facts:
    """Of the one who has the calls now, for a customer who was merged; NotFound without calls."""
    subject = Subject(CUSTOMER, customer_id)
    check_id(subject)
    async with relational.tenant(org_id, readonly=True) as tx:
        subject = await who(tx, org_id, subject)
        calls = await customer_store.newest_calls(tx, org_id, subject.id, READ_CALLS)
        if not calls:  # gone since
            raise NotFound(f"There are no calls of the customer {customer_id!r}.")
        portraits = {one: await _portrait(tx, org_id, subject, one) for one in PERIOD_TYPES}
        months = await store.snapshots_before(tx, org_id, subject, "month", None, RISK_MONTHS)
        others = await customer_store.one_with(tx, org_id, subject.id, _ONE_WITH)
        now = await customer_store.local_now(tx, org_id)
    return Facts(
        subject.id,
        others,
        portraits,
        calls,
        [(parse("month", key), one) for key, one in reversed(months.items())],
        open_promises(calls),
        best_time(calls),
        now.date(),
    )


async def _portrait(
    tx: Transaction, org_id: UUID, subject: Subject, period_type: PeriodType
) -> Portrait | None:
    """That of the newest period with calls, and the period before where that has calls, too."""
    newest = await store.snapshots_before(tx, org_id, subject, period_type, None, 2)
    if not newest:
        return None
    key, snapshot = next(iter(newest.items()))
    period = parse(period_type, key)
    before = newest.get(period.back(1).key) if len(newest) > 1 else None
    return Portrait(
        subject,
        period,
        snapshot.figures,
        snapshot.as_of,
        None if before is None else before.figures,
        snapshot.analysed,
        snapshot.degraded,
    )
