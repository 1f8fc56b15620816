from uuid import UUID

from ai_services.monitor.webhooks.events import TEST
from ai_services.monitor.webhooks.upkeep import Upkeep
from tests.ai_services.monitor.webhooks.conftest import Desk
from tests.ai_services.monitor.webhooks.receiver import receiving


async def altered(desk: Desk, query: str, *args: object) -> None:
    async with desk.place.db.system() as tx:
        await tx.execute(query, *args)


async def test_history_is_kept_for_thirty_days_and_what_waits_is_kept(
    desk: Desk, org: UUID
) -> None:
    async with receiving() as receiver:
        await desk.make(org, receiver.url)
        ids = [(await desk.queue(org)).ids[0] for _ in range(3)]
    ended = (
        "UPDATE webhook_delivery SET state = 'dead', finished_at = now() - $2::text::interval "
        "WHERE delivery_id = $1"
    )
    await altered(desk, ended, ids[0], "29 days")
    await altered(desk, ended, ids[1], "31 days")
    await Upkeep(desk.place.db, desk.metrics).once()
    async with desk.place.db.tenant(org) as tx:
        rows = await tx.fetch("SELECT delivery_id FROM webhook_delivery")
    assert {row["delivery_id"] for row in rows} == {ids[0], ids[2]}


async def test_what_waits_is_late_or_died_is_counted_and_tests_that_fail_are_not(
    desk: Desk, org: UUID
) -> None:
    upkeep = Upkeep(desk.place.db, desk.metrics)
    async with receiving() as receiver:
        await desk.make(org, receiver.url)
        ids = [(await desk.queue(org)).ids[0] for _ in range(4)]
    await desk.shift(500)
    ended = (
        "UPDATE webhook_delivery SET state = 'dead', event_type = $3, "
        "finished_at = now() - $2::text::interval WHERE delivery_id = $1"
    )
    await altered(desk, ended, ids[0], "1 hour", "job.failed")
    await altered(desk, ended, ids[1], "25 hours", "job.failed")
    await altered(desk, ended, ids[2], "1 hour", TEST)
    await upkeep.once()
    assert desk.count("webhook_deliveries_dead") == 1
    assert desk.count("webhook_deliveries_open") == 1
    assert 500 <= desk.count("webhook_late_seconds") < 600
    await desk.webhooks.replay(org, ids[0])
    await upkeep.once()
    assert desk.count("webhook_deliveries_dead") == 0
    assert desk.count("webhook_deliveries_open") == 2


async def test_what_a_lost_process_sent_to_a_webhook_that_isnt_active_does_not_stay_so(
    desk: Desk, org: UUID
) -> None:
    async with receiving() as receiver:
        made = [(await desk.make(org, receiver.url)).webhook.webhook_id for _ in range(2)]
        await desk.queue(org)
    await altered(
        desk, "UPDATE webhook_delivery SET state = 'sending', due_at = now() - interval '1 s'"
    )
    disabled = "UPDATE webhook SET active = false, disabled_as = $2 WHERE webhook_id = $1"
    await altered(desk, disabled, made[0], None)
    await altered(desk, disabled, made[1], "failing")
    await Upkeep(desk.place.db, desk.metrics).once()
    async with desk.place.db.tenant(org) as tx:
        rows = await tx.fetch("SELECT webhook_id, state FROM webhook_delivery")
    assert {row["webhook_id"]: row["state"] for row in rows} == {
        made[0]: "waiting",
        made[1]: "dead",
    }
