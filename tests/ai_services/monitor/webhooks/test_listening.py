"""From events to messages: what is committed is queued, once, for those who want to hear of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ai_services.monitor.projections import PROJECTIONS
from ai_services.monitor.webhooks import thresholds
from ai_services.monitor.webhooks.listening import WebhookMessages
from ai_services.monitor.webhooks.store.thresholds import Op
from ai_services.portrait.computing.computation import compute
from ai_services.portrait.metrics import METRICS
from shared.data_access.access import StoreUrls, open_data_access
from shared.data_access.outbox.relay import OutboxEvent, OutboxRelay
from shared.errors import Conflict
from shared.jobs.context import JobContext
from tests.ai_services.monitor.webhooks.conftest import Desk
from tests.ai_services.monitor.webhooks.receiver import Receiver, receiving
from tests.ai_services.portrait.calls import Call, Organisation
from tests.shared.jobs.workplace import job_type, until

TODAY = datetime.now(UTC)


async def fail(_context: JobContext[Any], _args: Mapping[str, Any]) -> None:
    raise ValueError("the log has it")


def relay(desk: Desk, **told: Any) -> OutboxRelay:
    return OutboxRelay(desk.place.db, [WebhookMessages(desk.place.db, **told)])


async def heard(receiver: Receiver, count: int) -> bool:
    return len(receiver.requests) >= count


def computed(period_end: datetime = TODAY, **metrics: float | None) -> OutboxEvent:
    payload = {
        "period_type": "week", "period_key": "2026-W49", "removed": [], "metrics": metrics,
        "period_end": period_end.date().isoformat(),
    }  # fmt: skip
    return OutboxEvent(uuid4().int % 2**60, uuid4(), "portraits", "2026-W49", payload, 0, TODAY)


async def queued(desk: Desk, org: UUID) -> int:
    async with desk.place.db.tenant(org) as tx:
        return int(await tx.fetchval("SELECT count(*) FROM webhook_delivery"))


async def test_a_job_that_dies_is_told_of_to_its_organisation_and_nobody_else(
    desk: Desk, org: UUID
) -> None:
    other, kind = await desk.place.organisation(), job_type("nightly", fail)
    async with receiving() as mine, receiving() as theirs, desk.sending():
        await desk.make(org, mine.url, "job.failed")
        await desk.make(other, theirs.url, "job.failed")
        async with desk.place.working(kind):
            (job_id,) = await desk.place.put(kind, org)
            (platforms,) = await desk.place.put(kind, None)
            await desk.place.until_state(job_id, "dead")
            await desk.place.until_state(platforms, "dead")
        assert await relay(desk).drain("webhooks") == 1
        await until(lambda: heard(mine, 1))
    assert theirs.requests == []
    told = mine.requests[0].message
    assert told["type"] == "job.failed"
    assert told["data"]["name"] == "nightly"
    assert (told["data"]["job_id"], told["data"]["failures"]) == (job_id, 3)
    assert told["data"]["error"] == "ValueError: The log has the details."


async def test_a_budget_that_is_reached_is_told_of(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver, desk.sending():
        await desk.make(org, receiver.url, "budget.reached")
        payload = {
            "budget_id": str(uuid4()), "subject_kind": "organisation", "subject": "", "period": "day",
            "hard": False, "threshold": 80, "amount": "10", "spent": "8.5", "first_day": "2026-11-30",
            "renews_at": "2026-12-01T00:00:00+08:00",
        }  # fmt: skip
        async with desk.place.db.tenant(org) as tx:
            await tx.emit(org, "budgets", str(payload["budget_id"]), payload)
        assert await relay(desk).drain("webhooks") == 1
        await until(lambda: heard(receiver, 1))
    assert receiver.requests[0].message["data"] == payload


async def test_an_event_heard_twice_is_one_message(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver:
        await desk.make(org, receiver.url)
        event = OutboxEvent(7, org, "jobs", "1", {"job_id": 1}, 0, TODAY)
        for _ in range(2):
            await WebhookMessages(desk.place.db).apply(org, [event])
        await WebhookMessages(desk.place.db).apply(org, [event, event])
        assert await queued(desk, org) == 1


async def test_what_is_rolled_back_is_told_to_nobody(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver:
        await desk.make(org, receiver.url)

        async def fails_after_telling() -> None:
            async with desk.place.db.tenant(org) as tx:
                await tx.emit(org, "jobs", "1", {"job_id": 1})
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fails_after_telling()
        assert await relay(desk).drain("webhooks") == 0


async def test_a_webhook_hears_of_what_it_asked_for(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver:
        await desk.make(org, receiver.url, "budget.reached", "webhook.disabled")
        assert not (await desk.queue(org)).ids
        await desk.make(org, receiver.url, "job.failed")
        await desk.make(org, receiver.url, "job.failed")
        assert len((await desk.queue(org)).ids) == 2


async def test_a_full_queue_drops_what_is_new_and_counts_it(desk: Desk, org: UUID) -> None:
    dropped = list[int]()
    async with receiving() as receiver:
        full = (await desk.make(org, receiver.url)).webhook.webhook_id
        events = [OutboxEvent(n, org, "jobs", str(n), {}, 0, TODAY) for n in range(5)]
        await WebhookMessages(desk.place.db, dropped=dropped.append, most_open=3).apply(org, events)
        assert (await queued(desk, org), dropped) == (3, [2])
        other = (await desk.make(org, receiver.url)).webhook.webhook_id
        more = [OutboxEvent(9, org, "jobs", "9", {}, 0, TODAY)]
        await WebhookMessages(desk.place.db, dropped=dropped.append, most_open=3).apply(org, more)
        assert dropped == [2, 1], "the queue of one webhook is full, not that of another"
        async with desk.place.db.tenant(org) as tx:
            rows = await tx.fetch(
                "SELECT webhook_id, count(*) AS open FROM webhook_delivery GROUP BY webhook_id"
            )
        assert {row["webhook_id"]: row["open"] for row in rows} == {full: 3, other: 1}


@pytest.mark.parametrize(
    ("op", "value", "reached"),
    [(">", 0.2, False), (">=", 0.2, True), ("<", 0.2, False), ("<=", 0.2, True), ("<", 0.3, True)],
)
async def test_a_threshold_compares_as_it_says(
    desk: Desk, org: UUID, op: Op, value: float, reached: bool
) -> None:
    await add(desk, org, op, value)
    await hearing(desk, org)
    assert (await told(desk, org, computed(high_churn_rate=0.2)) == 1) is reached


async def test_a_threshold_that_nobody_heard_of_is_told_when_somebody_asks_for_it(
    desk: Desk, org: UUID
) -> None:
    await add(desk, org)
    assert await told(desk, org, computed(high_churn_rate=0.2)) == 0
    await hearing(desk, org)
    assert await told(desk, org, computed(high_churn_rate=0.2)) == 1
    assert await told(desk, org, computed(high_churn_rate=0.2)) == 0


async def hearing(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver:
        await desk.make(org, receiver.url, "threshold.reached")


async def add(desk: Desk, org: UUID, op: Op = ">", value: float = 0.1) -> None:
    await thresholds.add_threshold(
        desk.place.db, org, name="churn", metric="high_churn_rate", period_type="week", op=op, value=value
    )  # fmt: skip


async def told(desk: Desk, org: UUID, event: OutboxEvent) -> int:
    """How many messages an event makes."""
    async with desk.place.db.tenant(org) as tx:
        return len(
            await thresholds.reached(tx, org, event.payload, str(event.id), event.created_at)
        )


async def test_who_enters_and_leaves_a_segment_is_told_by_its_kind(desk: Desk, org: UUID) -> None:
    told = [
        {"change": change, "segment": "quiet", "subjects": ["u1"]} for change in ("entered", "left")
    ]
    async with receiving() as receiver, desk.sending():
        await desk.make(org, receiver.url, "segment.entered", "segment.left")
        async with desk.place.db.tenant(org) as tx:
            await tx.emit_many(org, "segments", [("quiet", one) for one in told])
        await relay(desk).drain("webhooks")
        await until(lambda: heard(receiver, 2))
    messages = [request.message for request in receiver.requests]
    assert {one["type"] for one in messages} == {"segment.entered", "segment.left"}
    assert [one["data"] for one in messages] == [{"segment": "quiet", "subjects": ["u1"]}] * 2


async def test_the_size_of_a_segment_reaches_a_threshold(desk: Desk, org: UUID) -> None:
    await thresholds.add_threshold(
        desk.place.db, org, name="many", metric="segment:quiet", period_type="week", op=">", value=9
    )
    await hearing(desk, org)
    sizes = [{"segment:quiet": 9}, {"segment:quiet": 10}, {"segment:other": 99}]
    events = [replace(one, payload={**one.payload, "metrics": size})
              for one, size in zip([computed()] * 3, sizes, strict=True)]  # fmt: skip
    assert [await told(desk, org, event) for event in events] == [0, 1, 0]


async def test_a_threshold_is_told_of_once_until_it_is_left(desk: Desk, org: UUID) -> None:
    await add(desk, org)
    await hearing(desk, org)
    values = [0.05, 0.2, 0.3, None, 0.2, 0.1, 0.2]
    assert [await told(desk, org, computed(high_churn_rate=one)) for one in values] == [
        0, 1, 0, 0, 0, 0, 1,
    ]  # fmt: skip


async def test_periods_long_over_and_without_calls_are_nobodys_alarm(desk: Desk, org: UUID) -> None:
    await add(desk, org)
    await hearing(desk, org)
    assert await told(desk, org, computed(TODAY - timedelta(days=33), high_churn_rate=0.9)) == 0
    assert await told(desk, org, computed()) == 0
    assert await told(desk, org, computed(TODAY - timedelta(days=30), high_churn_rate=0.9)) == 1


async def test_a_threshold_that_is_reached_arrives_with_its_figures(desk: Desk, org: UUID) -> None:
    await add(desk, org)
    async with receiving() as receiver, desk.sending():
        await desk.make(org, receiver.url)
        async with desk.place.db.tenant(org) as tx:
            await tx.emit(org, "portraits", "2026-W49", computed(high_churn_rate=0.25).payload)
        await relay(desk, queued=lambda: None).drain("webhooks")
        await until(lambda: heard(receiver, 1))
    data = receiver.requests[0].message["data"]
    assert data.pop("threshold_id")
    assert data == {
        "name": "churn", "metric": "high_churn_rate", "op": ">", "threshold": 0.1, "value": 0.25,
        "period_type": "week", "period_key": "2026-W49",
    }  # fmt: skip


async def test_portraits_that_are_computed_reach_thresholds(desk: Desk, org: UUID) -> None:
    """The events as the portrait service writes them."""
    calls = Organisation(desk.place.db, org, "Asia/Shanghai")
    await calls.write(
        Call("c1", "u1", TODAY, churn_risk="high"), Call("c2", "u2", TODAY, churn_risk="low")
    )
    await add(desk, org, ">=", 0.5)
    async with receiving() as receiver, desk.sending():
        await desk.make(org, receiver.url)
        for _ in range(2):
            await compute(desk.place.db, org)
            await relay(desk).drain("webhooks")
        await until(lambda: heard(receiver, 1))
        await calls.write(Call("c3", "u1", TODAY, churn_risk="low"))
        await compute(desk.place.db, org)
        await calls.delete("c3")
        await compute(desk.place.db, org)
        await relay(desk).drain("webhooks")
        await until(lambda: heard(receiver, 2))
    assert [one.message["data"]["value"] for one in receiver.requests] == [0.5, 0.5]
    assert len(set(receiver.ids)) == 2


def test_the_metrics_of_thresholds_are_those_of_portraits() -> None:
    assert set(thresholds.METRICS) == set(METRICS)


async def test_webhooks_are_not_rebuilt(desk: Desk, org: UUID) -> None:
    """As `looma rebuild webhooks` would do it."""
    async with open_data_access(
        StoreUrls(desk.place.url, "", None, None, ""), ports={"relational"}
    ) as data:
        relay = OutboxRelay(data.relational, [make(data) for make in PROJECTIONS.values()])
        with pytest.raises(Conflict, match="replay"):
            await relay.rebuild("webhooks", org, lambda *_: None)
