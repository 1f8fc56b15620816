"""Signing keys: sealed at rest, rotated without breaking what is alive, seen by every replica."""

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import jwt
import pytest

from ai_services.auth.app import create_service
from ai_services.auth.tokens import key_pair
from shared.data_access.relational.postgres import Postgres
from shared.errors import ConfigError
from shared.security import ANONYMOUS
from tests.ai_services.auth.conftest import config_in
from tests.ai_services.auth.harness import Gate, serve

JWKS = "/.well-known/jwks.json"


@pytest.fixture
async def two(database_url, config, cache):
    """Two replicas over a database of their own: signing keys belong to no organisation."""
    first, second = Postgres(database_url), Postgres(database_url)
    async with serve(config, first, cache) as a, serve(config, second, cache) as b:
        yield a, b
    await first.close()
    await second.close()


async def jwks(served) -> dict:
    answer = await served.call(ANONYMOUS, "GET", JWKS)
    assert answer.status_code == 200
    return answer.json()


def kid(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


async def test_the_key_set_is_bare_public_and_cacheable(two) -> None:
    served, _ = two
    await served.auth.start()
    answer = await served.call(ANONYMOUS, "GET", JWKS)
    assert answer.headers["cache-control"] == "public, max-age=60"
    [key] = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "alg", "use"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")


async def test_replicas_that_start_together_share_one_key(two) -> None:
    await asyncio.gather(*(served.auth.signer.ensure() for served in two for _ in range(4)))
    sets = [await jwks(served) for served in two]
    assert sets[0] == sets[1]
    assert len(sets[0]["keys"]) == 1


async def test_rotation_keeps_old_tokens_valid_until_they_expire(two) -> None:
    a, b = two
    team = await a.organisation()
    old = (await a.tokens(team.email))["access_token"]
    assert kid((await b.tokens(team.email))["access_token"]) == kid(old)
    fresh = await a.auth.signer.rotate()
    new = (await a.tokens(team.email))["access_token"]
    assert (kid(new), kid(old) != fresh) == (fresh, True)
    for served in two:
        assert (await served.claims(old))["sub"] == (await served.claims(new))["sub"]
    # A replica that has just used the old key changes over within seconds.
    assert kid((await b.tokens(team.email))["access_token"]) == kid(old)
    b.clock.advance(5)
    assert kid((await b.tokens(team.email))["access_token"]) == fresh
    a.clock.advance(900)
    assert len((await jwks(a))["keys"]) == 2
    a.clock.advance(61)
    assert [key["kid"] for key in (await jwks(a))["keys"]] == [fresh]
    await a.auth.cleaning.once()
    assert [key["kid"] for key in (await jwks(b))["keys"]] == [fresh]


async def test_rotations_at_once_leave_one_key_that_signs(two, database_url) -> None:
    await asyncio.gather(*(served.auth.signer.rotate() for served in two for _ in range(3)))
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT private_pem, retired_at FROM signing_key")
    await connection.close()
    assert len(rows) == 6
    assert len([row for row in rows if row["retired_at"] is None]) == 1
    assert all((row["private_pem"] == b"") == (row["retired_at"] is not None) for row in rows)


async def test_the_private_key_is_sealed_and_a_changed_data_key_is_named(
    two, database_url, tmp_path, cache
) -> None:
    served, _ = two
    team = await served.organisation()
    await served.tokens(team.email)
    connection = await asyncpg.connect(database_url)
    stored = await connection.fetchval("SELECT private_pem FROM signing_key")
    await connection.close()
    assert b"PRIVATE KEY" not in stored
    postgres = Postgres(database_url)
    async with serve(config_in(tmp_path, DATA_KEY="e" * 64), postgres, cache) as changed:
        with pytest.raises(ConfigError, match="DATA_KEY"):
            await changed.auth.signer.ensure()
        await changed.auth.signer.rotate()
        await changed.tokens(team.email)
    await postgres.close()


def test_a_sealed_key_opens_only_under_its_own_name() -> None:
    first, second = key_pair.make(b"k" * 32), key_pair.make(b"k" * 32)
    assert key_pair.unseal(first, b"k" * 32).kid == first.kid
    swapped = type(first)(second.kid, first.sealed, second.jwk)
    with pytest.raises(ConfigError):
        key_pair.unseal(swapped, b"k" * 32)
    assert "PRIVATE" not in repr(first)


async def test_known_keys_are_served_while_the_database_is_away(
    database_url, config, cache
) -> None:
    async with Gate(database_url).running() as gate:
        postgres = Postgres(gate.url, acquire_timeout=0.5)
        async with serve(config, postgres, cache) as served:
            await served.auth.signer.ensure()
            known = await jwks(served)
            gate.shut()
            assert await jwks(served) == known
        await postgres.close()


async def test_a_foreign_signature_does_not_verify(two) -> None:
    a, _ = two
    team = await a.organisation()
    token = (await a.tokens(team.email))["access_token"]
    forged = jwt.encode(
        {**await a.claims(token), "role": "admin"},
        key_pair.unseal(key_pair.make(b"k" * 32), b"k" * 32).private,
        algorithm="EdDSA",
        headers={"kid": kid(token)},
    )
    with pytest.raises(jwt.InvalidSignatureError):
        await a.claims(forged)
    assert timedelta(seconds=(await a.claims(token))["exp"] - a.clock().timestamp()) > timedelta()


def test_no_access_token_may_outlive_its_session(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="REFRESH_TOKEN_SECONDS: must be 960 or more"):
        create_service(config_in(tmp_path, REFRESH_TOKEN_SECONDS="959"))
    create_service(config_in(tmp_path, REFRESH_TOKEN_SECONDS="960"))
