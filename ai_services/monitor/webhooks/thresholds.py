"""Thresholds: what an organisation wants to be told of its figures, and when they are reached.

The figures come with the event of a computed period (topic `portraits`): one number per metric over
all users; the size of a segment with that of its members (topic `segments`), as metric `segment:NAME`.
A threshold is told of once for each period, and once more if it was left in between.
What nobody hears isn't told: it stays to be told when an active webhook asks for it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from ai_services.monitor.webhooks.events import Message, message
from ai_services.monitor.webhooks.store import thresholds as store
from ai_services.monitor.webhooks.store import webhooks
from ai_services.monitor.webhooks.store.thresholds import Op, PeriodType, Threshold
from shared.data_access.ports import Relational, Transaction
from shared.errors import InvalidInput, NotFound

MOST: Final = 50  # thresholds of an organisation
REACHED: Final = "threshold.reached"
_HISTORY: Final = timedelta(days=31)  # periods that ended longer ago are nobody's alarm
_COMPARE: Final[Mapping[Op, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
SEGMENT_SIZE: Final = re.compile(r"segment:[a-z0-9][a-z0-9_-]{0,63}")
# Those of the portrait service; a test compares them.
METRICS: Final = (
    "total_calls", "connected_calls", "total_rounds",
    "level_a_count", "level_b_count", "level_c_count", "level_d_count", "level_e_count",
    "level_f_count", "robot_hangup_count", "user_hangup_count",
    "positive_count", "neutral_count", "negative_count",
    "high_complaint_risk", "medium_complaint_risk", "low_complaint_risk",
    "high_churn_risk", "medium_churn_risk", "low_churn_risk",
    "connect_rate", "total_duration", "avg_duration", "avg_rounds", "avg_sentiment_score",
    "positive_rate", "neutral_rate", "negative_rate", "high_complaint_rate", "high_churn_rate",
)  # fmt: skip


async def list_thresholds(relational: Relational, org_id: UUID) -> list[Threshold]:
    """Oldest first."""
    async with relational.tenant(org_id, readonly=True) as tx:
        return await store.list_thresholds(tx, org_id)


async def add_threshold(
    relational: Relational,
    org_id: UUID,
    *,
    name: str,
    metric: str,
    period_type: PeriodType,
    op: Op,
    value: float,
) -> Threshold:
    """It is compared from the next computation on. InvalidInput."""
    if metric not in METRICS and SEGMENT_SIZE.fullmatch(metric) is None:
        problem = f"there is no metric {metric[:60]!r}"
        fix = f"send segment:NAME for the size of a segment, or one of {', '.join(METRICS)}"
        raise InvalidInput.of("metric", problem, fix)
    async with relational.tenant(org_id) as tx:
        await webhooks.exclude_others(tx, org_id)
        if len(await store.list_thresholds(tx, org_id)) >= MOST:
            problem = f"your organisation has {MOST} thresholds, which is the most there can be"
            raise InvalidInput.of("name", problem, "delete one that is not needed")
        return await store.insert(
            tx, org_id, name=name, metric=metric, period_type=period_type, op=op, value=value
        )


async def delete_threshold(relational: Relational, org_id: UUID, threshold_id: UUID) -> None:
    async with relational.tenant(org_id) as tx:
        if not await store.delete(tx, org_id, threshold_id):
            raise NotFound("There is no such threshold. GET /api/v1/thresholds lists them.")


async def reached(
    tx: Transaction, org_id: UUID, computed: Mapping[str, Any], source: str, at: datetime
) -> list[Message]:
    """What there is to tell of a computed period, or of a segment whose size is another one: `computed` is
    the payload of an event.
    """
    figures = computed.get("metrics")
    if not figures or date.fromisoformat(computed["period_end"]) < at.date() - _HISTORY:
        return []
    told: list[Message] = []
    heard = await webhooks.hears(tx, org_id, REACHED)
    for one in await store.list_thresholds(tx, org_id, computed["period_type"]):
        value = figures.get(one.metric)
        if value is None:  # nothing to divide by
            continue
        holds = _COMPARE[one.op](value, one.value)
        if holds and not heard:
            continue
        period = computed["period_key"]
        if await store.note(tx, org_id, one.threshold_id, period, reached=holds):
            data = _data(one, period, value)
            told.append(message(REACHED, f"{source}/{one.threshold_id}", at, data))
    return told


def _data(one: Threshold, period_key: str, value: float) -> Mapping[str, Any]:
    return {
        "threshold_id": str(one.threshold_id),
        "name": one.name,
        "metric": one.metric,
        "op": one.op,
        "threshold": one.value,
        "value": value,
        "period_type": one.period_type,
        "period_key": period_key,
    }
