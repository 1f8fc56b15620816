"""API keys: shown once, verified by hash, expiring, revocable."""

import hashlib
from datetime import timedelta

import pytest

from ai_services.auth.service import operator
from tests.ai_services.auth.harness import GATEWAY, serve

URL = "/api/v1/keys"


def digest(secret: str) -> dict[str, str]:
    return {"hash": hashlib.sha256(secret.encode()).hexdigest()}


async def verify(served, secret: str):
    return await served.call(GATEWAY, "POST", "/internal/v1/keys/verify", digest(secret))


async def test_a_key_is_shown_once_and_verified_by_its_hash(served, team) -> None:
    answer = await team.call("POST", URL, {"name": "CRM import", "role": "service"})
    made = answer.json()["data"]
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert made["secret"].startswith("looma_")
    assert made["secret"].startswith(made["prefix"])
    assert made["created_by"] == team.admin_id
    found = (await verify(served, made["secret"])).json()["data"]
    assert found == {
        "org_id": str(team.org_id), "key_id": made["key_id"], "role": "service", "expires_at": None,
    }  # fmt: skip
    listed = await team.call("GET", URL)
    assert [key["key_id"] for key in listed.json()["data"]["items"]] == [made["key_id"]]
    audit = await team.call("GET", "/api/v1/audit")
    for text in (listed.text, audit.text):
        assert made["secret"] not in text
        assert "secret" not in text


async def test_only_the_hash_is_stored(team, superuser) -> None:
    made = (await team.call("POST", URL, {"name": "k", "role": "agent"})).json()["data"]
    row = await superuser.fetchrow("SELECT * FROM api_key WHERE org_id = $1", team.org_id)
    assert bytes.fromhex(digest(made["secret"])["hash"]) == row["secret_hash"]
    assert made["secret"] not in str(dict(row))


async def test_a_revoked_key_is_gone_and_gateways_hear_of_it(served, team) -> None:
    made = (await team.call("POST", URL, {"name": "k", "role": "agent"})).json()["data"]
    path = f"{URL}/{made['key_id']}"
    assert (await team.call("DELETE", path)).status_code == 200
    assert (await team.call("DELETE", path)).status_code == 200
    assert (await verify(served, made["secret"])).status_code == 404
    assert f"key:{made['key_id']}" in await served.revoked()
    [listed] = (await team.call("GET", URL)).json()["data"]["items"]
    assert listed["revoked_at"] is not None
    assert len(await team.audited("key.revoked")) == 1


async def test_a_key_expires(config, relational, cache) -> None:
    async with serve(config, relational, cache) as served:
        team = await served.organisation()
        expires = (served.clock() + timedelta(hours=1)).isoformat()
        body = {"name": "for an hour", "role": "analyst", "expires_at": expires}
        made = (await team.call("POST", URL, body)).json()["data"]
        assert (await verify(served, made["secret"])).json()["data"]["expires_at"] is not None
        served.clock.advance(3601)
        assert (await verify(served, made["secret"])).status_code == 404
        late = await team.call("POST", URL, body)
        assert (late.status_code, late.json()["details"][0]["field"]) == (422, "expires_at")


async def test_another_organisations_key_does_not_exist(served, team, other) -> None:
    theirs = (await other.call("POST", URL, {"name": "k", "role": "agent"})).json()["data"]
    assert (await team.call("DELETE", f"{URL}/{theirs['key_id']}")).status_code == 404
    assert (await team.call("GET", URL)).json()["data"]["items"] == []
    assert (await verify(served, theirs["secret"])).status_code == 200


async def test_a_retried_creation_makes_one_key_and_says_why_it_shows_none(team) -> None:
    body = {"name": "k", "role": "agent"}
    first = await team.call("POST", URL, body, Idempotency_Key="k-1")
    second = await team.call("POST", URL, body, Idempotency_Key="k-1")
    assert (first.status_code, second.status_code) == (201, 409)
    assert "Idempotency-Key" in second.json()["message"]
    assert len((await team.call("GET", URL)).json()["data"]["items"]) == 1


async def test_nobody_grants_more_than_they_may(served, team) -> None:
    from shared.errors import Forbidden
    from shared.security import Principal

    analyst = Principal(team.org_id, "service:cli", "analyst", "service")
    for grant in (
        served.auth.api_keys.create(analyst, name="k", role="admin"),
        served.auth.sessions.mint(analyst, "admin"),
    ):
        with pytest.raises(Forbidden, match="can't grant"):
            await grant
    made = await served.auth.api_keys.create(operator(team.org_id), name="k", role="agent")
    assert made.secret not in repr(made)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "role": "agent"}, "name"),
        ({"name": " \t", "role": "agent"}, "name"),
        ({"name": "k", "role": "anonymous"}, "role"),
        ({"name": "k", "role": "agent", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"name": "k", "role": "agent", "expires_at": 32503680000}, "expires_at"),
        ({"name": "k", "role": "agent", "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"name": "k", "role": "agent", "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"name": "k", "role": "agent", "admin": True}, "admin"),
    ],
)
async def test_a_bad_value_is_named(team, body, field) -> None:
    answer = await team.call("POST", URL, body)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (422, field)


async def test_a_key_may_end_on_the_last_day_there_is(served, team) -> None:
    body = {"name": "k", "role": "agent", "expires_at": "9999-12-29t23:58:59.999999-00:01"}
    made = await team.call("POST", URL, body)
    assert (made.status_code, made.json()["data"]["expires_at"]) == (
        201,
        "9999-12-29T23:59:59.999999Z",
    )


@pytest.mark.parametrize("value", ["", "0" * 63, "g" * 64, "0" * 65, "A" * 64])
async def test_what_is_no_hash_is_422(served, value) -> None:
    answer = await served.call(GATEWAY, "POST", "/internal/v1/keys/verify", {"hash": value})
    assert answer.status_code == 422
