"""Webhooks over HTTP: what an organisation's admins can do, and what nobody gets to see."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from ai_services.monitor.app import create_service
from shared.config import Config
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.monitor.conftest import SECRET, Api
from tests.ai_services.monitor.webhooks.receiver import Receiver, answer, receiving, verified
from tests.databases import SpareDatabases
from tests.shared.jobs.workplace import Workplace, until

HOOKS = "/api/v1/webhooks"
ADDRESS = "http://127.0.0.1:9/hook"


def settings(url: str, redis_server: str, home: Path, **more: str) -> Config:
    return Config.from_env(
        {
            "LOOMA_HOME": str(home),
            "DATABASE_URL": url,
            "REDIS_URL": redis_server,
            "GRAPH_URL": "bolt://neo4j:secret@127.0.0.1:9",  # away, and asked by the status alone
            "INTERNAL_TOKEN_SECRET": SECRET,
            "SHUTDOWN_SECONDS": "1",
            "DRAIN_DELAY_SECONDS": "0",
            **more,
        }
    )


@pytest.fixture(scope="module")
async def hooks_database_url(spare_databases: SpareDatabases) -> AsyncIterator[str]:
    async with spare_databases.fresh() as url:
        await Workplace.prepare(url)
        yield url


@pytest.fixture(scope="module")
async def hooks_url(
    hooks_database_url: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The service with messages allowed to this machine."""
    home = tmp_path_factory.mktemp("hooks")
    networks = {"WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8"}
    config = settings(hooks_database_url, redis_server, home, **networks)
    async with create_service(config).running(port=0) as url:
        yield url


@pytest.fixture
async def place(hooks_database_url: str) -> AsyncIterator[Workplace]:
    place = Workplace(Postgres(hooks_database_url, pool_size=4), hooks_database_url)
    await place.empty()
    yield place
    await place.db.close()


@pytest.fixture
async def hooks(hooks_url: str, place: Workplace) -> Api:
    return Api(hooks_url, place)


def wanted(url: str = ADDRESS, **changes: Any) -> dict[str, Any]:
    return {"url": url, "event_types": ["job.failed"], **changes}


async def made(http: httpx.AsyncClient, url: str = ADDRESS, **changes: Any) -> dict[str, Any]:
    answered = await http.post(HOOKS, json=wanted(url, **changes))
    assert answered.status_code == 201, answered.text
    assert answered.headers["cache-control"] == "no-store"
    return dict(answered.json()["data"])


async def shown(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answered = await http.get(path)
    assert answered.status_code == 200, answered.text
    return dict(answered.json()["data"])


async def deliveries(http: httpx.AsyncClient, webhook_id: str, query: str = "") -> list[Any]:
    return list((await shown(http, f"{HOOKS}/{webhook_id}/deliveries{query}"))["deliveries"])


async def until_over(http: httpx.AsyncClient, webhook_id: str) -> dict[str, Any]:
    async def over() -> bool:
        return all(one["finished_at"] for one in await deliveries(http, webhook_id))

    await until(over)
    return dict((await deliveries(http, webhook_id))[0])


async def sent_test(http: httpx.AsyncClient, webhook_id: str) -> dict[str, Any]:
    answered = await http.post(f"{HOOKS}/{webhook_id}/test")
    assert answered.status_code == 202, answered.text
    return await until_over(http, webhook_id)


async def test_a_webhook_is_made_changed_listed_and_deleted(hooks: Api, org: UUID) -> None:
    async with hooks.client(org) as http:
        one = await made(http, description="CRM", event_types=["job.failed", "budget.reached"])
        path = f"{HOOKS}/{one['webhook_id']}"
        assert (one["active"], one["disabled_as"], one["description"]) == (True, None, "CRM")
        secret = one.pop("secret")
        assert await shown(http, path) == one
        twice = {"active": False, "event_types": ["threshold.reached", "threshold.reached"]}
        changed = await http.patch(path, json=twice)
        data = changed.json()["data"]
        assert (data["active"], data["event_types"]) == (False, ["threshold.reached"])
        assert (data["url"], data["description"]) == (ADDRESS, "CRM")
        other = await made(http)
        listed = (await shown(http, HOOKS))["webhooks"]
        assert [found["webhook_id"] for found in listed] == [one["webhook_id"], other["webhook_id"]]
        assert (await http.delete(path)).status_code == 200
        assert (await http.get(path)).status_code == 404
        assert (await http.delete(path)).status_code == 404
        assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)


async def test_a_test_arrives_signed_with_the_secret_that_was_shown(hooks: Api, org: UUID) -> None:
    async with receiving() as receiver, hooks.client(org) as http:
        one = await made(http, receiver.url)
        found = await sent_test(http, one["webhook_id"])
        (request,) = receiver.requests
        assert verified(one["secret"], request.headers, request.body)
        assert request.message["type"] == found["event_type"] == "webhook.test"
        assert (found["state"], found["message_id"], found["attempts"]) == (
            "delivered",
            request.id,
            1,
        )
        assert found["next_attempt_at"] is None


async def test_a_test_that_fails_is_not_sent_again(hooks: Api, org: UUID) -> None:
    async with receiving(lambda _: answer(500)) as receiver, hooks.client(org) as http:
        found = await sent_test(http, (await made(http, receiver.url))["webhook_id"])
        assert (found["state"], found["last_status"]) == ("dead", 500)
        assert found["last_error"] == "It answered 500."


async def test_a_secret_is_shown_once_and_found_nowhere_else(hooks: Api, org: UUID) -> None:
    with capture_logs() as lines:
        async with receiving() as receiver, hooks.client(org) as http:
            one = await made(http, f"{receiver.url}?token=hidden")
            path = f"{HOOKS}/{one['webhook_id']}"
            replaced = await http.post(f"{path}/secret")
            assert replaced.headers["cache-control"] == "no-store"
            new = replaced.json()["data"]
            assert new["secret"] != one["secret"]
            assert new["old_secret_until"]
            await sent_test(http, one["webhook_id"])
            pages = [await shown(http, where) for where in (HOOKS, path, f"{path}/deliveries")]
            (request,) = receiver.requests
    assert verified(one["secret"], request.headers, request.body)
    assert verified(new["secret"], request.headers, request.body)
    async with hooks.place.db.system() as tx:
        rows = await tx.fetch("SELECT webhook::text AS row FROM webhook")
        rows += await tx.fetch("SELECT d::text AS row FROM webhook_delivery d")
    told = f"{pages} {lines} {[row['row'] for row in rows]}"
    for secret in (one["secret"], new["secret"]):
        assert secret not in told
        assert secret.removeprefix("whsec_") not in told
    assert "hidden" not in str(lines)


async def test_deliveries_are_paged_newest_first_by_state(hooks: Api, org: UUID) -> None:
    async with receiving() as receiver, hooks.client(org) as http:
        webhook_id = (await made(http, receiver.url))["webhook_id"]
        sent = [(await sent_test(http, webhook_id))["delivery_id"] for _ in range(3)]
        path = f"{HOOKS}/{webhook_id}/deliveries"
        first = await shown(http, f"{path}?limit=2")
        second = await shown(http, f"{path}?limit=2&cursor={first['next_cursor']}")
        found = [one["delivery_id"] for one in first["deliveries"] + second["deliveries"]]
        assert (found, second["next_cursor"]) == (sent[::-1], None)
        assert await deliveries(http, webhook_id, "?state=dead") == []
        again = f"{path}?state=delivered&cursor={first['next_cursor']}"
        assert (await http.get(again)).status_code == 400


async def test_what_was_given_up_is_sent_again_with_the_same_id(hooks: Api, org: UUID) -> None:
    async with (
        receiving(lambda count: answer(500 if count == 1 else 200)) as receiver,
        hooks.client(org) as http,
    ):
        webhook_id = (await made(http, receiver.url))["webhook_id"]
        dead = await sent_test(http, webhook_id)
        replay = f"{HOOKS}/deliveries/{dead['delivery_id']}/replay"
        assert (await http.post(replay)).status_code == 202
        found = await until_over(http, webhook_id)
        assert (found["state"], found["attempts"]) == ("delivered", 1)
        assert (await http.post(replay)).status_code == 202
        await until_over(http, webhook_id)
        await until(lambda: _heard(receiver, 3))
        assert len(set(receiver.ids)) == 1
        await http.patch(f"{HOOKS}/{webhook_id}", json={"active": False})
        refused = await http.post(replay)
        assert refused.status_code == 409
        assert "isn't active" in refused.json()["message"]
        assert (await http.post(f"{HOOKS}/{webhook_id}/test")).status_code == 409


async def _heard(receiver: Receiver, count: int) -> bool:
    return len(receiver.requests) >= count


async def test_a_key_makes_one_webhook(hooks: Api, org: UUID) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    async with hooks.client(org) as http, hooks.client(await hooks.place.organisation()) as other:
        assert (await http.post(HOOKS, json=wanted(), headers=headers)).status_code == 201
        again = await http.post(HOOKS, json=wanted(), headers=headers)
        assert (again.status_code, "secret" in again.text) == (409, True)
        assert "whsec_" not in again.text
        assert (await other.post(HOOKS, json=wanted(), headers=headers)).status_code == 201
        assert len((await shown(http, HOOKS))["webhooks"]) == 1


async def test_an_organisation_has_twenty_webhooks_at_most(hooks: Api, org: UUID) -> None:
    async with hooks.client(org) as http:
        for _ in range(20):
            await made(http)
        refused = await http.post(HOOKS, json=wanted())
        assert refused.status_code == 422
        assert "20 webhooks" in refused.json()["message"]
        assert len((await shown(http, HOOKS))["webhooks"]) == 20
        unknown = await http.post(HOOKS, json=wanted("https://crm.invalid/"))
        assert "20 webhooks" in unknown.json()["message"], "a host was looked up for nothing"


async def test_no_host_is_looked_up_for_a_webhook_that_isnt_there(hooks: Api, org: UUID) -> None:
    async with hooks.client(org) as http:
        change = {"url": "https://crm.invalid/"}
        assert (await http.patch(f"{HOOKS}/{uuid4()}", json=change)).status_code == 404


async def test_an_organisation_neither_sees_nor_touches_what_is_anothers(
    hooks: Api, org: UUID
) -> None:
    other = await hooks.place.organisation()
    async with receiving() as receiver, hooks.client(org) as http, hooks.client(other) as theirs:
        one = await made(theirs, receiver.url)
        delivery = await sent_test(theirs, one["webhook_id"])
        threshold = (await theirs.post("/api/v1/thresholds", json=THRESHOLD)).json()["data"]
        path = f"{HOOKS}/{one['webhook_id']}"
        for method, where, body in (
            ("GET", path, None),
            ("PATCH", path, {"active": False}),
            ("DELETE", path, None),
            ("POST", f"{path}/secret", None),
            ("POST", f"{path}/test", None),
            ("GET", f"{path}/deliveries", None),
            ("POST", f"{HOOKS}/deliveries/{delivery['delivery_id']}/replay", None),
            ("DELETE", f"/api/v1/thresholds/{threshold['threshold_id']}", None),
        ):
            answered = await http.request(method, where, json=body)
            assert answered.status_code == 404, (method, where)
        assert (await shown(http, HOOKS))["webhooks"] == []
        assert (await shown(http, "/api/v1/thresholds"))["thresholds"] == []
        assert (await shown(theirs, path))["updated_at"] == one["updated_at"]
        assert len(receiver.requests) == 1


async def test_only_admins_have_to_do_with_webhooks(hooks: Api, org: UUID) -> None:
    some = uuid4()
    for role in ("agent", "analyst", "service"):
        async with hooks.client(org, role) as http:
            for method, path in (
                ("GET", HOOKS),
                ("POST", HOOKS),
                ("GET", f"{HOOKS}/{some}"),
                ("PATCH", f"{HOOKS}/{some}"),
                ("DELETE", f"{HOOKS}/{some}"),
                ("POST", f"{HOOKS}/{some}/secret"),
                ("POST", f"{HOOKS}/{some}/test"),
                ("GET", f"{HOOKS}/{some}/deliveries"),
                ("POST", f"{HOOKS}/deliveries/{some}/replay"),
                ("GET", "/api/v1/thresholds"),
                ("POST", "/api/v1/thresholds"),
                ("DELETE", f"/api/v1/thresholds/{some}"),
            ):
                assert (await http.request(method, path, json={})).status_code == 403, path


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "https://[::1]/"}, "url"),
        ({"url": "https://2130706433/"}, "url"),
        ({"url": "https://user:pass@127.0.0.1/"}, "url"),
        ({"url": "ftp://127.0.0.1/"}, "url"),
        ({"url": "https://127.0.0.1/" + "x" * 2000}, "url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["webhook.test"]}, "event_types.0"),
        ({"description": "a\nb"}, "description"),
        ({"active": "yes"}, "active"),
        ({"secret": "whsec_"}, "secret"),
    ],
)
async def test_what_is_wrong_is_refused_when_it_is_made_and_when_it_is_changed(
    hooks: Api, org: UUID, changes: dict[str, Any], field: str
) -> None:
    async with hooks.client(org) as http:
        path = f"{HOOKS}/{(await made(http))['webhook_id']}"
        for answered in (
            await http.post(HOOKS, json=wanted() | changes),
            await http.patch(path, json=changes),
        ):
            assert answered.status_code == 422, answered.text
            (detail,) = answered.json()["details"]
            assert detail["field"] == field
            assert detail["fix"]
        assert len((await shown(http, HOOKS))["webhooks"]) == 1


async def test_without_a_network_named_nothing_leads_to_this_machine(
    place: Workplace, redis_server: str, tmp_path: Path
) -> None:
    config = settings(place.url, redis_server, tmp_path)
    async with (
        create_service(config).running(port=0) as url,
        Api(url, place).client(await place.organisation()) as http,
    ):
        for hook in (ADDRESS, "https://127.0.0.1/", "https://localhost/"):
            assert (await http.post(HOOKS, json=wanted(hook))).status_code == 422


THRESHOLD = {
    "name": "Churn", "metric": "high_churn_rate", "period_type": "week", "op": ">", "value": 0.2,
}  # fmt: skip


async def test_thresholds_are_added_listed_and_deleted(hooks: Api, org: UUID) -> None:
    async with hooks.client(org) as http:
        added = await http.post("/api/v1/thresholds", json=THRESHOLD)
        assert added.status_code == 201
        one = added.json()["data"]
        assert {name: one[name] for name in THRESHOLD} == THRESHOLD
        assert (await shown(http, "/api/v1/thresholds"))["thresholds"] == [one]
        path = f"/api/v1/thresholds/{one['threshold_id']}"
        assert (await http.delete(path)).status_code == 200
        assert (await http.delete(path)).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [({"metric": "mood"}, "metric"), ({"op": "=="}, "op"), ({"period_type": "day"}, "period_type"),
     ({"value": "much"}, "value"), ({"name": ""}, "name")],
)  # fmt: skip
async def test_a_threshold_that_can_never_be_reached_is_refused(
    hooks: Api, org: UUID, change: dict[str, Any], field: str
) -> None:
    async with hooks.client(org) as http:
        answered = await http.post("/api/v1/thresholds", json=THRESHOLD | change)
        assert answered.status_code == 422
        assert answered.json()["details"][0]["field"] == field


@pytest.mark.parametrize(
    "path", [f"{HOOKS}/none", f"{HOOKS}/{UUID(int=7)}", f"{HOOKS}/1%00/deliveries"]
)
async def test_what_is_no_id_is_not_found(hooks: Api, org: UUID, path: str) -> None:
    async with hooks.client(org) as http:
        assert (await http.get(path)).status_code == 404
