"""What is past its time goes, in bounded steps, and nothing else."""

from dataclasses import replace
from uuid import uuid4

import pytest

from shared.data_access.relational.postgres import Postgres
from tests.ai_services.auth.harness import serve


@pytest.fixture
async def apart(config, database_url, cache):
    """A service over a database of its own: cleaning knows no organisations."""
    postgres = Postgres(database_url)
    async with serve(config, postgres, cache) as served:
        yield served
    await postgres.close()


async def counts(served) -> dict[str, int]:
    async with served.auth.relational.system() as tx:
        return {
            "refresh_token": await tx.fetchval("SELECT count(*) FROM refresh_token"),
            "revocation": await tx.fetchval("SELECT count(*) FROM revocation"),
            "login_throttle": await tx.fetchval("SELECT count(*) FROM login_throttle"),
        }


async def test_only_what_is_past_its_time_is_removed(apart) -> None:
    team = await apart.organisation()
    for _ in range(3):
        principal = await apart.principal((await apart.tokens(team.email))["access_token"])
        await apart.call(principal, "POST", "/api/v1/auth/logout")
        await apart.login(f"{uuid4().hex}@x.test")
    # The three accounts that don't exist, and the address that all came from.
    assert await counts(apart) == {"refresh_token": 3, "revocation": 3, "login_throttle": 4}
    assert await apart.auth.cleaning.once() == 0
    apart.clock.advance(1000)
    await apart.auth.cleaning.once()
    assert await counts(apart) == {"refresh_token": 3, "revocation": 0, "login_throttle": 4}
    apart.clock.advance(3000)
    await apart.auth.cleaning.once()
    assert await counts(apart) == {"refresh_token": 3, "revocation": 0, "login_throttle": 0}
    apart.clock.advance(14 * 86400)
    tokens = await apart.tokens(team.email)
    await replace(apart.auth.cleaning, batch=2).once()
    assert (await counts(apart))["refresh_token"] == 1
    assert (await apart.refresh(tokens["refresh_token"])).status_code == 200


async def test_throttle_entries_are_bounded_and_the_newest_stay(apart) -> None:
    emails = [f"{number}@x.test" for number in range(9)]
    for email in emails:
        await apart.login(email)
    await replace(apart.auth.cleaning, max_throttled=4, batch=2).once()
    assert (await counts(apart))["login_throttle"] == 4
