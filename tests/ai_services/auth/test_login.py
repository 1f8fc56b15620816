"""Signing in, and how failing to is answered and slowed down."""

import asyncio
import statistics
import time
from uuid import uuid4

import pytest

from ai_services.auth.sign_in.limit import SignInLimit
from ai_services.auth.sign_in.passwords import HashCost
from ai_services.auth.sign_in.throttle import ThrottlePolicy, account_subject, address_subject
from shared.security import ANONYMOUS
from tests.ai_services.auth.harness import PASSWORD, serve

WRONG = "wrong horse battery"


async def test_login_gives_tokens_and_the_user(served, team) -> None:
    answer = await served.login(f"  {team.email.upper()} ")
    data = answer.json()["data"]
    assert answer.headers["cache-control"] == "no-store"
    assert set(data) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert (data["token_type"], data["expires_in"]) == ("Bearer", 900)
    assert (data["user"]["email"], data["user"]["role"]) == (team.email, "admin")
    assert "password" not in answer.text
    claims = await served.claims(data["access_token"])
    assert claims["sub"] == f"user:{data['user']['user_id']}"
    assert (claims["org"], claims["role"]) == (str(team.org_id), "admin")
    assert claims["exp"] - claims["iat"] == 900
    assert claims["nbf"] == claims["iat"]
    assert claims["sid"]
    assert claims["jti"]


async def test_unknown_wrong_and_disabled_are_answered_alike(served, team) -> None:
    gone = await team.add_user()
    await team.call("PATCH", f"/api/v1/users/{gone['user_id']}", {"disabled": True})
    answers = [
        await served.login(f"nobody-{uuid4().hex}@nowhere.test"),
        await served.login(team.email, WRONG),
        await served.login(gone["email"], PASSWORD),
        await served.login("not an address"),
        await served.login("nul\0@nowhere.test"),
    ]
    assert {answer.status_code for answer in answers} == {401}
    bodies = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in answers]
    assert all(body == bodies[0] for body in bodies)


async def test_unknown_account_takes_as_long_as_a_wrong_password(config, relational, cache) -> None:
    lenient = SignInLimit(ThrottlePolicy(free=1000), ThrottlePolicy(free=1000))
    cost = HashCost(memory_kib=8192, passes=2)  # some 10 ms, far above the noise of the rest
    async with serve(config, relational, cache, limit=lenient, cost=cost) as served:
        team = await served.organisation()
        seconds: dict[str, list[float]] = {team.email: [], f"nobody@{team.slug}.test": []}
        for _ in range(15):
            for email, times in seconds.items():
                started = time.perf_counter()
                assert (await served.login(email, WRONG)).status_code == 401
                times.append(time.perf_counter() - started)
        known, unknown = (statistics.median(times) for times in seconds.values())
    assert 0.6 < unknown / known < 1.6


async def test_login_and_refusal_are_audited_without_the_password(served, team) -> None:
    await served.login(team.email, WRONG)
    data = await served.tokens(team.email)
    [refused] = await team.audited("session.refused")
    [opened] = await team.audited("session.login")
    assert refused["target"] == opened["actor"] == f"user:{data['user']['user_id']}"
    assert opened["details"] == {"address": served.address}
    assert PASSWORD not in str([refused, opened])
    assert WRONG not in str([refused, opened])


@pytest.fixture
async def strict(config, relational, cache):
    limit = SignInLimit(ThrottlePolicy(free=3), ThrottlePolicy(free=6))
    async with serve(config, relational, cache, limit=limit) as running:
        yield running


async def test_account_is_throttled_longer_and_longer_and_freed_by_time(strict) -> None:
    team = await strict.organisation()
    for _ in range(3):
        assert (await strict.login(team.email, WRONG)).status_code == 401
    blocked = await strict.login(team.email)  # even with the right password
    assert (blocked.status_code, blocked.json()["error"]) == (429, "too_many_requests")
    assert blocked.headers["retry-after"] == "2"
    strict.clock.advance(2)
    assert (await strict.login(team.email, WRONG)).status_code == 401
    assert (await strict.login(team.email)).headers["retry-after"] == "4"
    strict.clock.advance(4)
    assert (await strict.login(team.email)).status_code == 200
    assert (await strict.login(team.email, WRONG)).status_code == 401  # counted from 0 again


async def test_an_unknown_account_is_throttled_like_a_known_one(strict) -> None:
    email = f"nobody-{uuid4().hex}@nowhere.test"
    answers = [await strict.login(email, WRONG) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


async def test_address_is_throttled_over_all_accounts_and_own_success_does_not_free_it(
    strict,
) -> None:
    team = await strict.organisation()
    for number in range(6):
        assert (await strict.login(f"{number}@{uuid4().hex}.test", WRONG)).status_code == 401
        if number < 5:
            assert (await strict.login(team.email)).status_code == 200
    assert (await strict.login(team.email)).status_code == 429
    elsewhere = {"email": team.email, "password": PASSWORD}
    answer = await strict.call(
        ANONYMOUS, "POST", "/api/v1/auth/login", elsewhere, X_Client_Address="192.0.2.77"
    )
    assert answer.status_code == 200


async def test_guesses_sent_at_once_count_each(strict) -> None:
    team = await strict.organisation()
    answers = await asyncio.gather(*(strict.login(team.email, WRONG) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 9


async def test_a_full_hashing_queue_is_429_and_is_not_held_against_the_account(
    config, relational, cache
) -> None:
    cost = HashCost(memory_kib=32768, passes=4, threads=1, waiting=1)
    async with serve(config, relational, cache, cost=cost) as served:
        team = await served.organisation()
        answers = await asyncio.gather(*(served.login(team.email) for _ in range(9)))
        assert {answer.status_code for answer in answers} == {200, 429}
        subjects = [account_subject(team.email), address_subject(served.address)]
        async with relational.system() as tx:
            failures = await tx.fetchval(
                "SELECT sum(failures) FROM login_throttle WHERE subject = ANY($1::text[])", subjects
            )
        assert failures == 0


async def test_a_hash_of_older_parameters_is_renewed_at_login(
    served, team, config, relational, cache, superuser
) -> None:
    async def stored() -> str:
        return await superuser.fetchval(
            "SELECT password_hash FROM app_user WHERE email = $1", team.email
        )

    old = await stored()
    async with serve(config, relational, cache, cost=HashCost(memory_kib=16, passes=1)) as stronger:
        await stronger.tokens(team.email)
        renewed = await stored()
        assert "m=8," in old
        assert "m=16," in renewed
        await stronger.tokens(team.email)
        assert await stored() == renewed
