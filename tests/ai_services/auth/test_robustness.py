"""What may arrive: hostile strings, huge bodies, and stores that go away."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from ai_services.auth.app import create_service
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.data_access.relational.postgres import Postgres
from shared.security import ANONYMOUS
from tests.ai_services.auth.conftest import config_in
from tests.ai_services.auth.harness import GATEWAY, PASSWORD, TOKENS, Gate, Team, serve
from tests.gateway.wire import until

HOSTILE = [
    "'; DROP TABLE app_user; --",
    '" OR ""="',
    "{{7*7}}${7*7}%n%s",
    "<script>alert(1)</script>",
    "\0",
    "a\0b",
    "\r\nX-Injected: 1",
    "\u202egnp.exe",
    "../../etc/passwd",
    "😀" * 60,
    "\ufeff",
    "-1",
    "1e999",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_in_any_field_is_refused_or_kept_as_text(served, team, text) -> None:
    requests = [
        ("POST", "/api/v1/auth/login", {"email": text, "password": text}),
        ("POST", "/api/v1/auth/login", {"email": team.email, "password": text}),
        ("POST", "/api/v1/auth/refresh", {"refresh_token": text}),
        ("POST", "/api/v1/auth/password", {"current_password": text, "new_password": text}),
        ("POST", "/api/v1/users", {"email": text, "role": "agent", "password": PASSWORD}),
        ("POST", "/api/v1/users",
         {"email": f"{uuid4().hex}@x.test", "role": text, "password": PASSWORD}),
        ("POST", "/api/v1/users",
         {"email": f"{uuid4().hex}@x.test", "role": "agent", "password": PASSWORD, "name": text}),
        ("POST", "/api/v1/users",
         {"email": f"{uuid4().hex}@x.test", "role": "agent", "password": text * 20}),
        ("PATCH", f"/api/v1/users/{team.admin_id}", {"name": text}),
        ("POST", f"/api/v1/users/{uuid4()}/password", {"password": text}),
        ("POST", "/api/v1/keys", {"name": text, "role": "agent"}),
        ("POST", "/api/v1/keys", {"name": "k", "role": "agent", "expires_at": text}),
        ("POST", "/api/v1/keys", {text: "k"}),
    ]  # fmt: skip
    for method, path, body in requests:
        answer = await team.call(method, path, body)
        assert answer.status_code in (200, 201, 401, 404, 422, 429), (path, body, answer.text)
        if answer.status_code in (200, 201) and "name" in body:
            assert answer.json()["data"]["name"] == body["name"].strip()
    for path in ("/api/v1/users", "/api/v1/keys", "/api/v1/audit", "/internal/v1/revocations"):
        quoted = str(httpx.QueryParams({"cursor": text}))
        caller = GATEWAY if path.startswith("/internal") else team.admin
        assert (await served.call(caller, "GET", f"{path}?{quoted}")).status_code == 422
    segment = "".join(f"%{byte:02x}" for byte in text.encode())
    for method, path in (
        ("GET", "/api/v1/users/"), ("DELETE", "/api/v1/users/"), ("DELETE", "/api/v1/keys/"),
    ):  # fmt: skip
        assert (await team.call(method, path + segment)).status_code == 404
    assert (await served.login(team.email)).status_code == 200


@pytest.mark.parametrize(
    "cursor", ["WyJhIl0", "W10", "WyIxMDAwMDAwMDAwMDAwMDAwMDAwMDAiXQ", "e30", "MQ"]
)
async def test_a_cursor_of_another_making_is_422(team, cursor) -> None:
    for path in ("/api/v1/users", "/api/v1/keys", "/api/v1/audit"):
        answer = await team.call("GET", f"{path}?cursor={cursor}")
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (422, "cursor")


async def test_a_hostile_client_address_is_only_text(served, team) -> None:
    for address in ("'; DROP TABLE x; --", "x" * 5000, "999.1.1.1", "::ffff:10.0.0.1", ""):
        body = {"email": team.email, "password": PASSWORD}
        answer = await served.call(
            ANONYMOUS, "POST", "/api/v1/auth/login", body, X_Client_Address=address
        )
        assert answer.status_code == 200
    assert all(len(e["details"]["address"]) <= 64 for e in await team.audited("session.login"))


async def test_huge_inputs_are_refused_cheaply(served, team) -> None:
    big = await team.call("POST", "/api/v1/users", {"name": "x" * (1 << 20)})
    assert big.status_code == 413
    answer = await served.login("a" * 300 + "@x.test", "x" * 2000)
    assert answer.status_code == 422
    assert "x" * 100 not in answer.text
    # NFKC makes eighteen characters of this one.
    longest = await served.login(team.email, "\ufdfa" * 1024)
    assert longest.status_code == 401
    nested = await served.client.post(
        "/api/v1/auth/login",
        content=b'{"email":' + b"[" * 8000 + b"]" * 8000 + b"}",
        headers={"X-Internal-Token": TOKENS.mint(ANONYMOUS, "auth")},
    )
    assert nested.status_code in (400, 422)


async def test_a_database_that_goes_away_is_503_and_comes_back(config, cache, database_url) -> None:
    async with Gate(database_url).running() as gate:
        postgres = Postgres(gate.url, acquire_timeout=0.5)
        async with serve(config, postgres, cache) as served:
            team = await served.organisation()
            tokens = await served.tokens(team.email)
            gate.shut()
            for answer in (
                await served.login(team.email),
                await served.refresh(tokens["refresh_token"]),
                await team.call("GET", "/api/v1/users"),
            ):
                assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
            gate.open()

            async def back() -> bool:  # as soon as a probe is answered
                return (await served.refresh(tokens["refresh_token"])).status_code == 200

            await until(back, 10)
            assert (await served.login(team.email)).status_code == 200
        await postgres.close()


async def test_without_redis_sign_out_still_works(config, relational, stores) -> None:
    async with Gate(stores.redis_url).running() as gate:
        gate.shut()
        cache = RedisCache(gate.url)
        async with serve(config, relational, cache) as served:
            team = await served.organisation()
            principal = await served.principal((await served.tokens(team.email))["access_token"])
            answer = await served.call(principal, "POST", "/api/v1/auth/logout")
            assert answer.status_code == 200
            assert f"session:{principal.session}" in await served.revoked()
        await cache.close()


async def sign_in_once_made(client: httpx.AsyncClient, file: Path) -> httpx.Response:
    """Sign in with the first admin's password as soon as there is one."""
    headers = {"X-Internal-Token": TOKENS.mint(ANONYMOUS, "auth")}
    while True:
        await asyncio.sleep(0.05)
        if not file.exists():
            continue
        body = {"email": "admin@looma.local", "password": file.read_text().strip()}
        answer = await client.post("/api/v1/auth/login", json=body, headers=headers)
        if answer.status_code != 401:  # the file is there a moment before the commit
            return answer


async def test_the_composed_service_bootstraps_itself_and_is_ready(
    tmp_path, database_url, stores
) -> None:
    config = config_in(
        tmp_path,
        DATABASE_URL=database_url,
        REDIS_URL=stores.redis_url,
        GRAPH_URL=stores.graph_url,
    )
    async with (
        create_service(config).running(port=0) as base,
        httpx.AsyncClient(base_url=base) as client,
    ):
        async with asyncio.timeout(15):
            answer = await sign_in_once_made(client, tmp_path / "first-admin-password")
        assert answer.status_code == 200
        assert (await client.get("/ready")).status_code == 200
        document = (await client.get("/openapi.json")).json()
    assert document["paths"]["/.well-known/jwks.json"]["get"]["x-scope"] == "public"


@pytest.mark.parametrize("crowd", ["sign-in", "refresh", "keys"])
async def test_a_crowd_of_one_kind_leaves_connections_to_all_others(
    config: Config, auth_database: str, cache: RedisCache, team: Team, crowd: str
) -> None:
    few = Postgres(auth_database, pool_size=5, acquire_timeout=0.5)
    try:
        async with serve(config, few, cache) as served, AsyncExitStack() as stack:
            assert (await served.login(team.email)).status_code == 200  # all is cached by now
            for _ in range(4):
                await stack.enter_async_context(few.system(who=crowd))
            no_key = {"hash": "0" * 64}
            found = await served.call(GATEWAY, "POST", "/internal/v1/keys/verify", no_key)
            statuses = {
                "sign-in": (await served.login(team.email)).status_code,
                "refresh": (await served.refresh("unknown")).status_code,
                "keys": found.status_code,
            }
            expected = {"sign-in": 200, "refresh": 401, "keys": 404, crowd: 503}
            assert statuses == expected
            assert (await served.call(team.admin, "GET", "/api/v1/users")).status_code == 200
    finally:
        await few.close()
