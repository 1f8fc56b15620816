"""Whoever is disabled, demoted or deleted has nothing left that a gateway lets through.

Through a real gateway in front of a real auth service, with credentials that the gateway verified
a moment before, so that it would know them still.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.issuers import TokenIssuers
from gateway.auth.revocations import Revocations
from gateway.http.headers import Headers
from gateway.timeouts import Timeouts
from gateway.upstream.discovery import Discovery
from gateway.upstream.service_calls import ServiceCalls
from shared.data_access.cache.redis import RedisCache
from shared.errors import LoomaError
from shared.security import InternalTokens
from tests.gateway.conftest import PASSWORD, SECRET, Platform
from tests.gateway.issuer import FakeAuth, Received
from tests.gateway.wire import until

SignedIn = tuple[httpx.AsyncClient, dict[str, Any]]
PROMISED_S = 5


@dataclass
class Insider:
    """A second admin with a session and a key, both known to the gateway."""

    client: httpx.AsyncClient
    owner: dict[str, str]
    user_id: str
    refresh_token: str
    credentials: dict[str, dict[str, str]]

    async def status(self, credential: str, path: str = "/api/v1/users") -> int:
        return (await self.client.get(path, headers=self.credentials[credential])).status_code

    async def new_admin(self, credential: str) -> int:
        body = {"email": f"{uuid4().hex}@x.test", "role": "admin", "password": PASSWORD}
        got = await self.client.post(
            "/api/v1/users", json=body, headers=self.credentials[credential]
        )
        return got.status_code

    async def becomes(self, **change: Any) -> None:
        path = f"/api/v1/users/{self.user_id}"
        got = await self.client.patch(path, json=change, headers=self.owner)
        assert got.status_code == 200, got.text

    async def answered(self, credential: str, status: int) -> float:
        """How long until the gateway answers so."""

        async def so() -> bool:
            return await self.status(credential) == status

        return await until(so, PROMISED_S)


async def insider(signed_in: SignedIn) -> Insider:
    client, tokens = signed_in
    owner = {"Authorization": f"Bearer {tokens['access_token']}"}

    async def post(path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        got = await client.post(path, json=body, headers=headers)
        assert got.status_code in (200, 201), got.text
        data: dict[str, Any] = got.json()["data"]
        return data

    who = {"email": f"{uuid4().hex}@x.test", "password": PASSWORD}
    user = await post("/api/v1/users", {**who, "role": "admin"}, owner)
    session = await post("/api/v1/auth/login", who, {})
    bearer = {"Authorization": f"Bearer {session['access_token']}"}
    key = await post("/api/v1/keys", {"name": "kept", "role": "admin"}, bearer)
    by_key = await post(
        "/api/v1/keys", {"name": "of it", "role": "admin"}, {"X-API-Key": key["secret"]}
    )
    made = Insider(
        client, owner, user["user_id"], session["refresh_token"],
        {
            "token": bearer, "key": {"X-API-Key": key["secret"]},
            "key of the key": {"X-API-Key": by_key["secret"]},
        },
    )  # fmt: skip
    for credential in made.credentials:
        assert await made.status(credential) == 200
    return made


async def test_nothing_of_a_lost_admin_opens_or_makes_an_admin(signed_in: SignedIn) -> None:
    client, _ = signed_in
    for loss in ("disabled", "deleted"):
        lost = await insider(signed_in)
        if loss == "disabled":
            await lost.becomes(disabled=True)
        else:
            path = f"/api/v1/users/{lost.user_id}"
            assert (await client.delete(path, headers=lost.owner)).status_code == 200
        # At once, whether the gateway has heard of it or not.
        for credential in lost.credentials:
            assert await lost.new_admin(credential) == 401, (loss, credential)
        for credential in lost.credentials:
            assert await lost.answered(credential, 401) < PROMISED_S, (loss, credential)
        body = {"refresh_token": lost.refresh_token}
        assert (await client.post("/api/v1/auth/refresh", json=body)).status_code == 401
        if loss == "disabled":
            await lost.becomes(disabled=False)
            for credential in lost.credentials:
                assert await lost.status(credential) == 401, credential


async def test_a_demoted_admins_key_goes_on_as_what_its_owner_is(signed_in: SignedIn) -> None:
    demoted = await insider(signed_in)
    await demoted.becomes(role="agent")
    assert await demoted.new_admin("token") == 401  # sessions end with any change of role
    for credential in ("key", "key of the key"):
        assert await demoted.new_admin(credential) == 403
        assert await demoted.answered(credential, 403) < PROMISED_S
        assert await demoted.status(credential, "/api/v1/auth/me") == 200
    await demoted.becomes(role="admin")
    assert await demoted.answered("key", 200) < PROMISED_S


async def test_a_key_that_counts_for_less_is_asked_about_again(platform: Platform) -> None:
    key = platform.auth.new_key("analyst")
    headers, path = {"X-API-Key": key}, "/api/v1/calls/search"
    assert (await platform.client.get(path, headers=headers)).status_code == 200
    platform.auth.change_key(key, "agent")

    async def refused() -> bool:
        return (await platform.client.get(path, headers=headers)).status_code == 403

    assert await until(refused, PROMISED_S) < PROMISED_S
    assert (await platform.client.get("/api/v1/calls", headers=headers)).status_code == 200
    platform.auth.verify_asked = 0
    for _ in range(5):  # once per notice, not once per request
        assert await refused()
    assert platform.auth.verify_asked == 0


@dataclass
class SlowAuth(FakeAuth):
    """Answers about keys as they were when the question came, once it is let go."""

    held: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def _answer(self, received: Received, writer: asyncio.StreamWriter) -> None:
        said = self._said(received)
        self.asked.set()
        await self.held.wait()
        writer.write(said)
        await writer.drain()


async def test_an_answer_from_before_the_notice_is_not_believed() -> None:
    """The question was on its way when the owner was demoted; its answer comes after the notice."""
    auth = SlowAuth()
    await auth.wire.start()
    cache = RedisCache("redis://127.0.0.1:1/0")
    discovery = Discovery(cache, {"auth": (auth.wire.url,)}, Timeouts())
    calls = ServiceCalls(discovery, InternalTokens(SECRET.encode()))
    revocations = Revocations(calls, cache)
    keys = ApiKeys(calls)
    identity = Identity(TokenIssuers({}, {}, {}), keys, revocations)  # type: ignore[arg-type]
    key = auth.new_key("analyst")
    asking = [asyncio.create_task(identity.caller(sent(key))) for _ in range(3)]
    await auth.asked.wait()
    revocations._take(auth.change_key(key, "agent"))
    auth.held.set()
    assert [(await one).role for one in asking] == ["agent"] * 3
    assert (await identity.caller(sent(key))).role == "agent"
    assert auth.verify_asked == 2
    # The same notice again, by poll this time, changes nothing.
    revocations._take(auth.revoked[-1])
    assert (await identity.caller(sent(key))).role == "agent"
    assert auth.verify_asked == 2
    # A revoked key that the auth service can't be asked about opens nothing either.
    revocations._take(auth.revoke(f"key:{uuid4()}"))
    assert (await identity.caller(sent(key))).role == "agent"
    subject = (await identity.caller(sent(key))).mark
    revocations._take(auth.revoke(subject))
    await auth.wire.stop()
    with pytest.raises(LoomaError):
        await identity.caller(sent(key))
    keys.close()
    await cache.close()


def sent(key: str) -> Headers:
    return Headers.of([("X-API-Key", key)])
