"""Deliveries: signed, tried again, given up, never held up by others, sent whoever is killed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ai_services.monitor.webhooks.delivery.sending import Sender
from ai_services.monitor.webhooks.delivery.sharing import Bounds
from ai_services.monitor.webhooks.delivery.signing import Seal
from ai_services.monitor.webhooks.delivery.verdict import PAUSES, Answer
from ai_services.monitor.webhooks.delivery.worker import Pace
from ai_services.monitor.webhooks.store import claiming
from tests.ai_services.monitor.webhooks.conftest import QUICK, Desk
from tests.ai_services.monitor.webhooks.receiver import answer, receiving, verified
from tests.shared.jobs.workplace import until


async def test_a_message_arrives_signed_as_the_specification_says(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver, desk.sending(clock=lambda: 1_700_000_000.9):
        made = await desk.make(org, receiver.url)
        (delivery_id,) = (await desk.queue(org, job_id=7)).ids
        found = await desk.until_state(org, delivery_id, "delivered")
    (request,) = receiver.requests
    assert verified(made.secret, request.headers, request.body)
    assert request.headers["webhook-timestamp"] == "1700000000"
    assert request.headers["content-type"] == "application/json"
    assert request.id == found.message_id
    assert request.message == {
        "type": "job.failed",
        "timestamp": "1970-01-01T00:00:00+00:00",
        "data": {"job_id": 7},
    }
    assert (found.attempts, found.last_status, found.last_error) == (1, 204, None)
    assert desk.count("webhook_attempts_total", outcome="delivered") == 1


async def test_what_fails_is_sent_again_with_the_same_id_and_body(desk: Desk, org: UUID) -> None:
    def says(count: int) -> bytes:
        return answer(500) if count < 3 else answer(200)

    async with receiving(says) as receiver, desk.sending():
        await desk.make(org, receiver.url)
        (delivery_id,) = (await desk.queue(org)).ids
        found = await desk.until_state(org, delivery_id, "delivered")
    assert (found.attempts, len(receiver.requests)) == (3, 3)
    assert len({(one.id, one.body) for one in receiver.requests}) == 1


async def test_the_pauses_are_those_of_the_specification_over_more_than_a_day(
    desk: Desk, org: UUID
) -> None:
    async with receiving(lambda _: answer(503)) as receiver:
        await desk.make(org, receiver.url)
        (delivery_id,) = (await desk.queue(org)).ids
        waited = []
        async with desk.sending(replace(QUICK, pauses=PAUSES)):
            for attempt in range(1, len(PAUSES) + 1):
                found = await desk.until_attempts(org, delivery_id, attempt)
                async with desk.place.db.system() as tx:
                    waited.append(
                        await tx.fetchval(
                            "SELECT extract(epoch FROM $1 - clock_timestamp())::float8",
                            found.due_at,
                        )
                    )
                assert found.state == "waiting"
                await desk.shift(waited[-1] + 1)
            found = await desk.until_state(org, delivery_id, "dead")
    assert found.attempts == len(PAUSES) + 1 == 8
    assert [
        pause - 3 < left <= pause * 1.1 for pause, left in zip(PAUSES, waited, strict=True)
    ] == [True] * 7
    assert sum(PAUSES) > 86_400
    assert found.last_error == "It answered 503."
    assert desk.count("webhook_attempts_total", outcome="dead") == 1


@pytest.mark.parametrize(
    ("said", "least"), [("3600", 3_500), ("Thu, 01 Jan 2099 00:00:00 GMT", 86_000)]
)
async def test_retry_after_is_honoured_up_to_a_day(
    desk: Desk, org: UUID, said: str, least: float
) -> None:
    async with (
        receiving(lambda _: answer(429, f"Retry-After: {said}")) as receiver,
        desk.sending(),
    ):
        await desk.make(org, receiver.url)
        (delivery_id,) = (await desk.queue(org)).ids
        found = await desk.until_attempts(org, delivery_id, 1)
    async with desk.place.db.system() as tx:
        left = await tx.fetchval(
            "SELECT extract(epoch FROM $1 - clock_timestamp())::float8", found.due_at
        )
    assert least < left <= 86_400


async def test_gone_disables_the_webhook_and_gives_up_what_waits_for_it(
    desk: Desk, org: UUID
) -> None:
    async with receiving(lambda _: answer(410)) as receiver, receiving() as other:
        made = await desk.make(org, receiver.url)
        first = (await desk.queue(org)).ids
        second = (await desk.queue(org)).ids
        await desk.make(org, other.url, "webhook.disabled")
        async with desk.sending(replace(QUICK, bounds=Bounds(of_webhook=1))):
            await desk.until_state(org, first[0], "dead")
            await desk.until_state(org, second[0], "dead")
            await until(lambda: _heard(other, 1))
        assert len(receiver.requests) == 1
    found = await desk.webhooks.get(org, made.webhook.webhook_id)
    assert (found.active, found.disabled_as) == (False, "gone")
    assert other.requests[0].message["data"] == {
        "webhook_id": str(made.webhook.webhook_id),
        "reason": "gone",
    }
    assert desk.count("webhook_disabled_total", reason="gone") == 1
    assert not (await desk.queue(org)).ids


async def test_days_of_failures_only_disable_a_webhook_and_one_success_begins_anew(
    desk: Desk, org: UUID
) -> None:
    statuses = [500, 200, 500, 500]
    pace = replace(QUICK, pauses=())
    async with receiving(lambda count: answer(statuses[count - 1])) as receiver:
        made = await desk.make(org, receiver.url)
        webhook_id = made.webhook.webhook_id
        async with desk.sending(pace):
            for expected in ("dead", "delivered", "dead"):
                (delivery_id,) = (await desk.queue(org)).ids
                await desk.until_state(org, delivery_id, expected)
                found = await desk.webhooks.get(org, webhook_id)
                assert found.active
                assert (found.failing_since is None) == (expected == "delivered")
            async with desk.place.db.system() as tx:
                await tx.execute("UPDATE webhook SET failing_since = now() - interval '5 days 1 s'")
            (delivery_id,) = (await desk.queue(org)).ids
            await desk.until_state(org, delivery_id, "dead")
    found = await desk.webhooks.get(org, webhook_id)
    assert (found.active, found.disabled_as) == (False, "failing")
    change = {"url": None, "event_types": None, "description": None}
    found = await desk.webhooks.change(org, webhook_id, active=True, **change)
    assert (found.active, found.disabled_as, found.failing_since) == (True, None, None)


async def test_one_failure_long_after_others_neither_disables_nor_gives_up(
    desk: Desk, org: UUID
) -> None:
    async with receiving(lambda count: answer(503 if count == 1 else 204)) as receiver:
        made = await desk.make(org, receiver.url)
        async with desk.place.db.system() as tx:
            await tx.execute("UPDATE webhook SET failing_since = now() - interval '9 days'")
        (delivery_id,) = (await desk.queue(org)).ids
        async with desk.sending():
            found = await desk.until_state(org, delivery_id, "delivered", "dead")
    assert (found.state, found.attempts) == ("delivered", 2)
    webhook = await desk.webhooks.get(org, made.webhook.webhook_id)
    assert (webhook.active, webhook.failing_since) == (True, None)


async def test_a_test_that_fails_says_nothing_of_how_the_webhook_fares(
    desk: Desk, org: UUID
) -> None:
    async with receiving(lambda _: answer(503)) as receiver, desk.sending():
        webhook_id = (await desk.make(org, receiver.url)).webhook.webhook_id
        tested = await desk.webhooks.test(org, webhook_id)
        await desk.until_state(org, tested.delivery_id, "dead")
        assert (await desk.webhooks.get(org, webhook_id)).failing_since is None
        async with desk.place.db.system() as tx:
            await tx.execute("UPDATE webhook SET failing_since = now() - interval '9 days'")
        tested = await desk.webhooks.test(org, webhook_id)
        await desk.until_state(org, tested.delivery_id, "dead")
    assert (await desk.webhooks.get(org, webhook_id)).active


async def test_a_slow_webhook_holds_up_nobody_else(desk: Desk, org: UUID) -> None:
    other = await desk.place.organisation()
    bounds = Bounds(places=6, of_organisation=4, of_webhook=2)
    async with receiving() as slow, receiving() as quick, receiving() as theirs:
        slow.held.clear()
        await desk.make(org, slow.url, "job.failed")
        for _ in range(10):
            await desk.queue(org)
        async with desk.sending(replace(QUICK, bounds=bounds)):
            await until(lambda: _heard(slow, 2))
            await desk.make(org, quick.url, "job.failed")
            await desk.make(other, theirs.url, "job.failed")
            await desk.queue(org)
            await desk.queue(other)
            await until(lambda: _heard(quick, 1))
            await until(lambda: _heard(theirs, 1))
            assert slow.most == 2
            slow.held.set()
            await until(lambda: _heard(slow, 11))


async def test_bounds_hold_over_all_processes(desk: Desk, org: UUID) -> None:
    bounds = Bounds(places=5, of_organisation=3, of_webhook=3)
    async with receiving() as receiver:
        receiver.held.clear()
        await desk.make(org, receiver.url, "job.failed")
        for _ in range(8):
            await desk.queue(org)
        pace = replace(QUICK, bounds=bounds, lease_s=60.0)
        async with desk.sending(pace), desk.sending(pace):
            await until(lambda: _heard(receiver, 3))
            receiver.held.set()
            await until(lambda: _heard(receiver, 8))
        assert receiver.most == 3
    assert len(set(receiver.ids)) == 8


async def test_what_a_lost_process_was_sending_is_sent_by_another_with_the_same_id(
    desk: Desk, org: UUID
) -> None:
    async with receiving() as receiver:
        receiver.held.clear()
        await desk.make(org, receiver.url)
        (delivery_id,) = (await desk.queue(org)).ids
        pace = replace(QUICK, lease_s=60.0)
        async with desk.sending(pace) as lost:
            await until(lambda: _heard(receiver, 1))
            await desk.shift(61)  # its lease is over, as if it stood still
            async with desk.sending(pace):
                await until(lambda: _heard(receiver, 2))
                receiver.held.set()
                found = await desk.until_state(org, delivery_id, "delivered")
                await until(lambda: _lost(desk))
        assert lost is not None
    assert len(set(receiver.ids)) == 1
    assert found.attempts == 2
    assert desk.count("webhook_attempts_total", outcome="delivered") == 1


async def test_while_a_secret_is_replaced_both_sign_and_after_a_day_the_new_one_alone(
    desk: Desk, org: UUID
) -> None:
    async with receiving() as receiver, desk.sending():
        old = await desk.make(org, receiver.url)
        new = await desk.webhooks.rotate(org, old.webhook.webhook_id)
        assert new.webhook.old_secret_until is not None
        await desk.queue(org)
        await until(lambda: _heard(receiver, 1))
        async with desk.place.db.system() as tx:
            await tx.execute(
                "UPDATE webhook SET old_secret_until = old_secret_until - interval '1 day'"
            )
        await desk.queue(org)
        await until(lambda: _heard(receiver, 2))
    during, after = receiver.requests
    assert [verified(one.secret, during.headers, during.body) for one in (old, new)] == [True, True]
    assert [verified(one.secret, after.headers, after.body) for one in (old, new)] == [False, True]
    assert len(after.headers["webhook-signature"].split(" ")) == 1


async def test_a_new_secret_signs_alone_where_the_one_before_cant_be_opened(
    desk: Desk, org: UUID
) -> None:
    async with receiving() as receiver:
        webhook_id = (await desk.make(org, receiver.url)).webhook.webhook_id
        async with desk.place.db.system() as tx:
            await tx.execute("UPDATE webhook SET secret = decode(repeat('00', 60), 'hex')")
        new = await desk.webhooks.rotate(org, webhook_id)
        (delivery_id,) = (await desk.queue(org)).ids
        with capture_logs() as lines:
            async with desk.sending():
                await desk.until_state(org, delivery_id, "delivered", "dead")
    (request,) = receiver.requests
    assert verified(new.secret, request.headers, request.body)
    assert len(request.headers["webhook-signature"].split(" ")) == 1
    (line,) = [one for one in lines if one["event"] == "webhook_old_secret_unreadable"]
    assert "DATA_KEY" in line["reason"]


async def test_a_data_key_that_is_wrong_for_a_while_is_no_failure_of_the_receiver(
    desk: Desk, org: UUID
) -> None:
    async with receiving() as receiver:
        webhook_id = (await desk.make(org, receiver.url)).webhook.webhook_id
        (delivery_id,) = (await desk.queue(org)).ids
        with capture_logs() as lines:
            async with desk.sending(replace(QUICK, pauses=()), seal=Seal(b"w" * 32)):
                await until(lambda: _counted(desk, "postponed"))
        found = await desk.delivery(org, delivery_id)
        assert (found.state, found.attempts, found.last_error) == ("waiting", 0, None)
        assert (await desk.webhooks.get(org, webhook_id)).failing_since is None
        assert any("DATA_KEY" in one.get("reason", "") for one in lines)
        assert receiver.requests == []
        await desk.shift(301)
        async with desk.sending():
            await desk.until_state(org, delivery_id, "delivered")


async def test_a_webhook_that_is_stopped_is_sent_what_waits_when_it_runs_again(
    desk: Desk, org: UUID
) -> None:
    change = {"url": None, "event_types": None, "description": None}
    async with receiving() as receiver:
        made = await desk.make(org, receiver.url)
        webhook_id = made.webhook.webhook_id
        (delivery_id,) = (await desk.queue(org)).ids
        await desk.webhooks.change(org, webhook_id, active=False, **change)
        async with desk.sending():
            other = await desk.place.organisation()
            await desk.make(other, receiver.url)
            await desk.queue(other)
            await until(lambda: _heard(receiver, 1))
            assert (await desk.delivery(org, delivery_id)).state == "waiting"
            assert not (await desk.queue(org)).ids
            await desk.webhooks.change(org, webhook_id, active=True, **change)
            await desk.until_state(org, delivery_id, "delivered")


async def test_no_answer_in_time_is_a_failure(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver:
        receiver.held.clear()
        await desk.make(org, receiver.url)
        (delivery_id,) = (await desk.queue(org)).ids
        sender = Sender(desk.resolver, timeout_s=0.2)
        async with desk.sending(Pace(poll_s=0.02, pauses=()), sender=sender):
            found = await desk.until_state(org, delivery_id, "dead")
    assert (found.last_status, found.last_error) == (None, "There was no answer within 0.2 s.")


class Broken(Sender):
    async def post(self, url: str, headers: object, body: bytes, now: float) -> Answer:
        raise ZeroDivisionError


async def test_a_defect_of_ours_is_no_failure_of_the_receiver(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver, desk.sending(sender=Broken(desk.resolver)):
        webhook_id = (await desk.make(org, receiver.url)).webhook.webhook_id
        (delivery_id,) = (await desk.queue(org)).ids
        await until(lambda: _counted(desk, "postponed"))
        found = await desk.delivery(org, delivery_id)
        webhook = await desk.webhooks.get(org, webhook_id)
    assert (found.state, found.attempts, found.last_error) == ("waiting", 0, None)
    assert (webhook.active, webhook.failing_since) == (True, None)


async def test_what_is_in_flight_to_a_webhook_that_is_disabled_comes_to_an_end(
    desk: Desk, org: UUID
) -> None:
    async with receiving(lambda count: answer(410 if count == 2 else 503)) as receiver:
        receiver.held.clear()
        await desk.make(org, receiver.url)
        ids = [(await desk.queue(org)).ids[0] for _ in range(2)]
        async with desk.sending():
            await until(lambda: _heard(receiver, 2))
            receiver.held.set()
            for one in ids:
                await desk.until_state(org, one, "dead")


async def test_a_webhook_is_deleted_while_an_attempt_at_it_ends(desk: Desk, org: UUID) -> None:
    """Whoever ends it has the webhook first, as who deletes it: neither waits for the other in vain."""
    async with receiving() as receiver:
        webhook_id = (await desk.make(org, receiver.url)).webhook.webhook_id
        (delivery_id,) = (await desk.queue(org)).ids
    db = desk.place.db
    async with db.system() as tx:
        (claim,) = await claiming.claim(tx, {(org, webhook_id): 1}, 60.0)
    async with db.tenant(org) as tx:
        await tx.execute("SELECT FROM webhook WHERE webhook_id = $1 FOR UPDATE", webhook_id)
        ending = asyncio.create_task(_ended(desk, claim))
        await until(lambda: _waits_for_a_lock(desk))
        async with asyncio.timeout(5):  # not held by who ends it
            await tx.execute("DELETE FROM webhook_delivery WHERE delivery_id = $1", delivery_id)
            await tx.execute("DELETE FROM webhook WHERE webhook_id = $1", webhook_id)
    assert await ending is False


async def _ended(desk: Desk, claim: claiming.Claim) -> bool:
    async with desk.place.db.tenant(claim.org_id) as tx:
        return await claiming.end(
            tx, claim, "waiting", after_s=5.0, status=503, error="It answered 503."
        )


async def _waits_for_a_lock(desk: Desk) -> bool:
    async with desk.place.db.system() as tx:
        return bool(await tx.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def _heard(receiver: object, count: int) -> bool:
    return len(receiver.requests) >= count  # type: ignore[attr-defined]


async def _counted(desk: Desk, outcome: str) -> bool:
    return desk.count("webhook_attempts_total", outcome=outcome) >= 1


async def _lost(desk: Desk) -> bool:
    await asyncio.sleep(0)
    return desk.count("webhook_attempts_total", outcome="lost") == 1
