"""What was verified once is believed until it ends, and not a moment, nor a letter, longer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth.access_tokens import LEEWAY_S, AccessTokens
from gateway.auth.api_keys import ApiKeys
from gateway.auth.caller import Caller
from gateway.auth.identity import Identity
from gateway.auth.issuers import TokenIssuers
from gateway.auth.jwks import SigningKeys
from gateway.auth.revocations import CHANNEL, Revocations
from gateway.expiring_cache import ExpiringCache
from gateway.http.headers import Headers
from gateway.timeouts import Timeouts
from gateway.upstream.discovery import Discovery
from gateway.upstream.service_calls import ServiceCalls
from shared.data_access.cache.redis import RedisCache
from shared.errors import Unauthenticated
from shared.security import InternalTokens, Principal
from tests.gateway.conftest import SECRET
from tests.gateway.issuer import FakeAuth, claims
from tests.gateway.wire import until

START = 1_800_000_000.0
SESSIONS = [str(UUID(int=number)) for number in range(1, 4)]


@dataclass
class Door:
    """An identity with a clock of its own; it asks nobody but for the keys, once."""

    auth: FakeAuth = field(default_factory=FakeAuth)
    now: float = START
    redis: str = "redis://127.0.0.1:1/0"  # nobody listens there, and nobody is asked

    def __post_init__(self) -> None:
        self.cache = RedisCache(self.redis)
        discovery = Discovery(self.cache, {}, Timeouts())
        calls = ServiceCalls(discovery, InternalTokens(SECRET.encode()))
        tokens = AccessTokens(
            SigningKeys(self._jwks), issuer="looma", audience="looma", clock=lambda: self.now
        )
        self.revocations = Revocations(calls, self.cache, clock=lambda: self.now)
        self.identity = Identity(
            TokenIssuers(tokens, {}, {}), ApiKeys(calls), self.revocations, clock=lambda: self.now
        )

    async def _jwks(self) -> Any:
        return {"keys": [signer.jwk() for signer in self.auth.signers]}

    async def opens(self, token: str) -> bool:
        try:
            await self.identity.caller(Headers.of([("Authorization", f"Bearer {token}")]))
        except Unauthenticated:
            return False
        return True


steps = st.one_of(
    st.tuples(st.just("use"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.floats(0, 400)),
    st.tuples(st.just("near the end"), st.integers(0, 5)),
    st.tuples(st.just("end"), st.integers(0, 2)),
)


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(st.integers(1, 900), min_size=6, max_size=6), steps=st.lists(steps, max_size=25)
)
def test_a_token_opens_exactly_while_it_lives_and_its_session_does(
    lives: list[int], steps: list[tuple[str, Any]]
) -> None:
    async def run() -> None:
        door, ended = Door(), set[str]()
        minted = [
            door.auth.signers[0].sign(
                claims(sid=SESSIONS[n % 3], nbf=int(START), exp=int(START) + life)
            )
            for n, life in enumerate(lives)
        ]
        for kind, value in steps:
            if kind == "wait":
                door.now += value
            elif kind == "near the end":
                door.now = max(door.now, START + lives[value] + LEEWAY_S - 1)
                assert await door.opens(minted[value]) == (
                    door.now < START + lives[value] + LEEWAY_S and SESSIONS[value % 3] not in ended
                )
                door.now += 1
            elif kind == "end":
                ended.add(SESSIONS[value])
                ends = datetime.fromtimestamp(door.now + 960, UTC).isoformat()
                door.revocations._take(
                    {
                        "subject": f"session:{SESSIONS[value]}",
                        "revoked_at": datetime.fromtimestamp(door.now, UTC).isoformat(),
                        "expires_at": ends,
                    }
                )
            else:
                alive = door.now < START + lives[value] + LEEWAY_S
                expected = alive and SESSIONS[value % 3] not in ended
                assert await door.opens(minted[value]) == expected
        await door.cache.close()

    asyncio.run(run())


async def test_a_verified_token_ends_with_its_time() -> None:
    door = Door()
    token = door.auth.signers[0].sign(claims(nbf=int(START), exp=int(START) + 60))
    for after, good in ((0, True), (59.9, True), (60, True), (89.9, True), (90, False)):
        door.now = START + after
        assert await door.opens(token) == good, after
    await door.cache.close()


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), letter=st.sampled_from("AQgw_-.0z"))
def test_a_token_with_one_other_letter_is_another_token(at: int, letter: str) -> None:
    async def run() -> None:
        door = Door()
        token = door.auth.signers[0].sign(claims(nbf=int(START), exp=int(START) + 60))
        assert await door.opens(token)
        where = at % len(token)
        changed = token[:where] + letter + token[where + 1 :]
        # The last letter of a part has bits that mean nothing: those may be read as the same.
        insignificant = changed.split(".") != token.split(".") and where + 1 in (
            *(len(".".join(token.split(".")[:n])) for n in (1, 2, 3)),
        )
        if changed != token and not insignificant:
            assert not await door.opens(changed)
        assert await door.opens(token)
        await door.cache.close()

    asyncio.run(run())


@given(
    size=st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "get", "wait"]), st.integers(0, 9), st.floats(0, 20)),
        max_size=60,
    ),
)
def test_a_cache_is_bounded_and_tells_only_what_was_put_and_is_alive(
    size: int, steps: list[tuple[str, int, float]]
) -> None:
    now, put = 0.0, dict[int, tuple[float, float]]()
    cache: ExpiringCache[int, float] = ExpiringCache(size, lambda: now)
    for kind, key, number in steps:
        if kind == "put":
            cache.put(key, number, now + number)
            put[key] = (number, now + number)
        elif kind == "wait":
            now += number
        else:
            found = cache.get(key)
            assert found is None or (found == put[key][0] and now < put[key][1])
        assert len(cache) <= size


async def test_what_can_t_be_a_key_is_refused_without_asking_anybody() -> None:
    door = Door()  # nobody could be asked
    for text in ("looma_", "looma_a b", "looma_\udcff12345678", f"looma_{'a' * 600}", "a b", ""):
        assert not await door.opens(text), text
    await door.cache.close()


def test_a_caller_has_one_internal_token_per_service_and_window() -> None:
    now = START
    internal = InternalTokens(SECRET.encode(), clock=lambda: now)
    caller = Caller(Principal(UUID(int=1), "user:a", "analyst", "user", SESSIONS[0]))
    made: dict[str, str] = {}
    for moment, service in ((0, "a"), (1, "b"), (2, "a"), (3, "c"), (29.9, "b"), (29.9, "a")):
        now = START + moment
        token = caller.token(internal, service, now)
        assert made.setdefault(service, token) == token
        assert internal.verify(token, service) == caller.principal
    now = START + 30
    renewed = caller.token(internal, "a", now)
    assert renewed != made["a"]
    assert caller.token(internal, "b", now) == made["b"]  # minted a second later
    assert caller.token(internal, "a", now) == renewed


async def test_an_ended_session_is_refused_though_its_token_was_verified(redis_at: str) -> None:
    """By message, with the auth service away: what is cached does not outlive its session."""
    door = Door(now=time.time(), redis=redis_at)
    token = door.auth.token(sid=SESSIONS[0])
    assert await door.opens(token)
    listening = asyncio.create_task(door.revocations.listen_forever())
    ends = datetime.fromtimestamp(door.now + 960, UTC).isoformat()
    said = orjson.dumps(
        {"subject": f"session:{SESSIONS[0]}", "revoked_at": ends, "expires_at": ends}
    )
    other = RedisCache(redis_at)

    async def refused() -> bool:
        await other.publish(CHANNEL, said)
        return not await door.opens(token)

    assert await until(refused, 5) < 5
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await other.close()
    await door.cache.close()
