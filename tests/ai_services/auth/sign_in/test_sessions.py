"""Refresh tokens, their reuse, signing out, and how gateways hear of it."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson
import pytest

from ai_services.auth.tokens.revocations import CHANNEL
from shared.security import Principal
from tests.ai_services.auth.harness import GATEWAY, serve


async def test_refresh_rotates_within_the_session(served, team) -> None:
    first = await served.tokens(team.email)
    second = (await served.refresh(first["refresh_token"])).json()["data"]
    third = (await served.refresh(second["refresh_token"])).json()["data"]
    assert len({t["refresh_token"] for t in (first, second, third)}) == 3
    sessions = {(await served.claims(t["access_token"]))["sid"] for t in (first, second, third)}
    assert len(sessions) == 1
    assert third["user"] == first["user"]


async def test_a_used_refresh_token_ends_its_session_and_no_other(served, team) -> None:
    other = await served.tokens(team.email)
    first = await served.tokens(team.email)
    second = (await served.refresh(first["refresh_token"])).json()["data"]
    reused = await served.refresh(first["refresh_token"])
    assert reused.status_code == 401
    assert (await served.refresh(second["refresh_token"])).status_code == 401
    session = (await served.claims(first["access_token"]))["sid"]
    assert f"session:{session}" in await served.revoked()
    [entry] = await team.audited("session.token_reused")
    assert entry["target"] == f"session:{session}"
    assert (await served.refresh(other["refresh_token"])).status_code == 200


async def test_of_refreshes_at_once_exactly_one_wins_and_the_session_ends(served, team) -> None:
    tokens = await served.tokens(team.email)
    answers = await asyncio.gather(*(served.refresh(tokens["refresh_token"]) for _ in range(8)))
    winners = [answer for answer in answers if answer.status_code == 200]
    assert len(winners) == 1
    assert {a.status_code for a in answers if a not in winners} == {401}
    # No grace: nobody can tell a careless client from a thief.
    again = await served.refresh(winners[0].json()["data"]["refresh_token"])
    assert again.status_code == 401
    assert len(await team.audited("session.token_reused")) == 1


async def test_an_unused_refresh_token_expires(config, relational, cache) -> None:
    async with serve(config, relational, cache) as served:
        team = await served.organisation()
        tokens = await served.tokens(team.email)
        served.clock.advance(14 * 86400 - 5)
        tokens = (await served.refresh(tokens["refresh_token"])).json()["data"]
        served.clock.advance(14 * 86400)
        assert (await served.refresh(tokens["refresh_token"])).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "' OR 1=1 --", "\0", "客", "A" * 43])
async def test_an_unknown_refresh_token_is_401(served, token) -> None:
    answer = await served.refresh(token)
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthenticated")


async def test_logout_ends_the_session_and_is_audited(served, team) -> None:
    tokens = await served.tokens(team.email)
    principal = await served.principal(tokens["access_token"])
    answer = await served.call(principal, "POST", "/api/v1/auth/logout")
    assert (answer.status_code, answer.json()["data"]) == (200, None)
    subject = f"session:{principal.session}"
    assert subject in await served.revoked()
    assert (await served.refresh(tokens["refresh_token"])).status_code == 401
    [entry] = await team.audited("session.logout")
    assert (entry["actor"], entry["target"]) == (team.admin.subject, subject)


async def log_out(served, team, _user, tokens) -> None:
    principal = await served.principal(tokens["access_token"])
    await served.call(principal, "POST", "/api/v1/auth/logout")


async def reuse(served, _team, _user, tokens) -> None:
    for _ in range(2):
        await served.refresh(tokens["refresh_token"])


async def disable(_served, team, user, _tokens) -> None:
    await team.call("PATCH", f"/api/v1/users/{user['user_id']}", {"disabled": True})


async def delete(_served, team, user, _tokens) -> None:
    await team.call("DELETE", f"/api/v1/users/{user['user_id']}")


async def set_password(_served, team, user, _tokens) -> None:
    body = {"password": "another long pass phrase"}
    await team.call("POST", f"/api/v1/users/{user['user_id']}/password", body)


@pytest.mark.parametrize("end", [log_out, reuse, disable, delete, set_password])
async def test_gateways_hear_at_once_of_a_session_that_ended(served, team, cache, end) -> None:
    user = await team.add_user()
    tokens = await served.tokens(user["email"])
    session = (await served.claims(tokens["access_token"]))["sid"]
    async with cache.subscribe(CHANNEL) as messages:
        await end(served, team, user, tokens)
        heard = await next_of(messages, team)
    assert heard["subject"] == f"session:{session}"
    assert set(heard) == {"org_id", "subject", "revoked_at", "expires_at"}


async def test_gateways_hear_at_once_of_a_revoked_key(served, team, cache) -> None:
    made = (await team.call("POST", "/api/v1/keys", {"name": "k", "role": "agent"})).json()["data"]
    async with cache.subscribe(CHANNEL) as messages:
        await team.call("DELETE", f"/api/v1/keys/{made['key_id']}")
        heard = await next_of(messages, team)
    assert heard["subject"] == f"key:{made['key_id']}"


async def next_of(messages, team) -> dict:
    """The next message about this organisation, within 5 s."""
    async with asyncio.timeout(5):
        async for message in messages:
            heard = orjson.loads(message)
            if heard["org_id"] == str(team.org_id):
                return heard
    raise AssertionError("the channel closed")


async def test_logout_without_a_session_is_a_conflict(served, team) -> None:
    key = Principal(team.org_id, f"key:{uuid4()}", "analyst", "key")
    answer = await served.call(key, "POST", "/api/v1/auth/logout")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


async def test_logout_of_a_user_who_was_deleted_still_revokes(served, team) -> None:
    gone = Principal(team.org_id, f"user:{uuid4()}", "agent", "user", str(uuid4()))
    assert (await served.call(gone, "POST", "/api/v1/auth/logout")).status_code == 200
    assert f"session:{gone.session}" in await served.revoked()


async def test_me_of_a_user_a_key_and_a_minted_token(served, team) -> None:
    user = (await served.call(team.admin, "GET", "/api/v1/auth/me")).json()["data"]
    assert user["user"]["email"] == team.email
    assert user["organisation"] == {
        "org_id": str(team.org_id), "slug": team.slug, "name": "织", "timezone": "Asia/Shanghai",
    }  # fmt: skip
    assert "users:admin" in user["scopes"]
    key = Principal(team.org_id, f"key:{uuid4()}", "analyst", "key")
    answer = (await served.call(key, "GET", "/api/v1/auth/me")).json()["data"]
    assert (answer["kind"], answer["role"], answer["user"]) == ("key", "analyst", None)
    token = await served.auth.sessions.mint(team.admin, "agent")
    minted = await served.principal(token)
    answer = (await served.call(minted, "GET", "/api/v1/auth/me")).json()["data"]
    assert (answer["role"], answer["user"]) == ("agent", None)
    [entry] = await team.audited("token.minted")
    assert entry["details"] == {"role": "agent", "session": minted.session}


async def test_revocations_are_paged_and_can_be_asked_for_since(served, team) -> None:
    for _ in range(3):
        principal = await served.principal((await served.tokens(team.email))["access_token"])
        await served.call(principal, "POST", "/api/v1/auth/logout")

    async def poll(query: str) -> dict:
        answer = await served.call(GATEWAY, "GET", f"/internal/v1/revocations?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    everything = (await poll("limit=5000"))["items"]
    paged, cursor = [], ""
    while cursor is not None:
        page = await poll(f"limit=2&cursor={cursor}" if cursor else "limit=2")
        assert len(page["items"]) <= 2
        paged += page["items"]
        cursor = page["next_cursor"]
    assert paged == everything
    newest = everything[-1]
    later = await poll(f"since={newest['revoked_at'].replace('+', '%2B')}")
    assert later["items"] == [newest]
    assert UUID(newest["org_id"]) == team.org_id
    # Far enough back that a transaction which is slow to commit is not missed by the next poll.
    assert served.clock() - datetime.fromisoformat(later["as_of"]) >= timedelta(seconds=20)


@pytest.mark.parametrize("path", ["/internal/v1/revocations", "/internal/v1/keys/verify"])
async def test_internal_routes_are_for_the_gateway_only(served, team, path) -> None:
    stranger = Principal(team.org_id, "service:portrait", "service", "service")
    client = Principal(team.org_id, "service:gateway", "admin", "user")
    for principal in (team.admin, stranger, client):
        method, body = ("GET", None) if path.endswith("s") else ("POST", {"hash": "0" * 64})
        assert (await served.call(principal, method, path, body)).status_code == 403
