"""What lies behind the figures of one period: the use case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.portrait import service
from ai_services.portrait.detail import store as detail_store
from ai_services.portrait.detail.store import FollowUp, Told
from ai_services.portrait.dimension import ORGANISATION, Subject
from ai_services.portrait.distribution import Distribution, distribution_of
from ai_services.portrait.figures import Figures
from ai_services.portrait.history.history import Past, history
from ai_services.portrait.period import Period, PeriodType
from shared.data_access.ports import Relational

_TOLD: Final = 5
_FOLLOW_UPS: Final = 20
_RISK_PERIODS: Final = 12


@dataclass(frozen=True, slots=True)
class Detail:
    """`now` is the portrait, or the summary with subject None; `past` its periods, oldest first."""

    subject: Subject | None
    now: service.Portrait | service.Summary
    distribution: Distribution
    topics: Sequence[Told]
    reasons: Sequence[Told]
    follow_ups: Sequence[FollowUp]
    past: Sequence[Past]
    read_at: datetime

    @property
    def period(self) -> Period:
        return self.now.period


async def detail(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    period_key: str | None,
    *,
    now: datetime,
) -> Detail:
    """Of the newest period with calls, or the one named. NotFound as of portraits and summaries."""
    found: service.Portrait | service.Summary
    if subject is None:
        found = await service.summary(relational, org_id, period_type, period_key)
    else:
        found = await service.portrait(
            relational, org_id, subject, period_type, period_key, with_calls=False
        )
        subject = found.subject
    whose = Subject(ORGANISATION, "") if subject is None else subject
    async with relational.tenant(org_id, readonly=True) as tx:
        distribution = await distribution_of(tx, org_id, whose, found.period)
        topics = await detail_store.topics(tx, org_id, whose, found.period, _TOLD)
        reasons = await detail_store.complaint_reasons(tx, org_id, whose, found.period, _TOLD)
        follow_ups = await detail_store.open_follow_ups(
            tx, org_id, whose, found.period, _FOLLOW_UPS
        )
    past = await history(relational, org_id, subject, period_type, cursor=None, limit=_RISK_PERIODS)
    return Detail(
        subject, found, distribution, topics, reasons, follow_ups,
        list(reversed(past.items)), now,
    )  # fmt: skip


def funnel(figures: Figures) -> list[tuple[str, int]]:
    """From all calls to the highest intention: each step is part of the one before."""
    f = figures
    levels = [
        f.level_f_count, f.level_e_count, f.level_d_count, f.level_c_count, f.level_b_count,
        f.level_a_count,
    ]  # fmt: skip
    steps = [("calls", f.total_calls), ("connected", f.connected_calls)]
    for place, name in ((0, "any_level"), (3, "C_or_higher"), (4, "B_or_higher"), (5, "A")):
        steps.append((name, sum(levels[place:])))
    return steps
