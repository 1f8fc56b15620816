"""Every way to a service is metered, shed and counted alike: plain, kept, with a key, a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from gateway.resilience.retries import RetryPolicy
from gateway.upstream.policy import ServicePolicy
from tests.gateway.conftest import LENIENT, Platform, platform_in
from tests.gateway.sockets import KEY, switching
from tests.gateway.wire import Behaviour, Received, always, echo, exchange, json_answer, until

ROUTES = """
[services.enrichment]
shedding = { limit = 100, most = 200, least = 10, shrink = 0.5, pause_s = 0.001 }
streams = { limit = 100, most = 200, least = 10, shrink = 0.5, pause_s = 0.001 }

[enrichment]
routes = [
  { method = "GET", path = "/plain", scope = "calls:read" },
  { method = "GET", path = "/kept", scope = "calls:read", cache = "60s" },
  { method = "POST", path = "/keyed", scope = "calls:write", timeout = 5 },
  { method = "POST", path = "/written", scope = "calls:write", timeout = 0.3 },
  { method = "GET", path = "/socket", scope = "calls:read", websocket = true },
]
"""
WAYS = ("plain", "kept", "keyed", "socket")
NEVER_AGAIN = ServicePolicy(
    breaker=LENIENT.breaker, outliers=LENIENT.outliers, health=None, retry=RetryPolicy(retries=0)
)


@pytest.fixture
async def gate(tmp_path: Path, redis_at: str) -> AsyncIterator[Platform]:
    (tmp_path / "routes.toml").write_text(ROUTES)
    async with platform_in(
        tmp_path,
        policy=NEVER_AGAIN,
        REDIS_URL=redis_at,
        GATEWAY_ROUTES=str(tmp_path / "routes.toml"),
    ) as platform:
        yield platform


async def answer_to(received: Received, writer: asyncio.StreamWriter) -> None:
    if received.path == "/socket":
        writer.write(switching(received))
        await writer.drain()
        await received.reader.read()
    else:
        await echo(received, writer)


async def ask(gate: Platform, way: str, **claims: str) -> int:
    """One request by this way, each as if it were new; its status."""
    bearer = gate.auth.bearer(sub=f"user:{uuid4()}", **claims)
    if way == "socket":
        head = (
            f"GET /socket HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\n\r\n"
        )
        received = await exchange(gate.url, head.encode(), until_closed=False)
        return int(received[9:12])
    if way == "keyed":
        headers = {**bearer, "Idempotency-Key": str(uuid4())}
        return (await gate.client.post("/keyed", json={}, headers=headers)).status_code
    return (await gate.client.get(f"/{way}", headers=bearer)).status_code


async def metric(gate: Platform, beginning: str) -> float:
    page = (await gate.client.get("/metrics")).text
    return sum(
        float(row.rpartition(" ")[2]) for row in page.splitlines() if row.startswith(beginning)
    )


async def limit(gate: Platform, name: str) -> int:
    got = await gate.client.get("/api/v1/gateway/upstreams", headers=gate.auth.bearer("admin"))
    (pool,) = got.json()["data"]["services"]
    found: int = pool[name]
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_metered(gate: Platform, way: str) -> None:
    gate.behave(answer_to, stream=True)
    gate.enrichment.stream = way == "socket"
    assert await ask(gate, way) == (101 if way == "socket" else 200)
    method = "POST" if way == "keyed" else "GET"
    own = f'method="{method}",route="/{way}"'
    assert await metric(gate, f"gateway_overhead_seconds_count{{{own}}}") == 1
    upstream = f'upstream_request_duration_seconds_count{{method="{method}",route="/{way}"'
    assert await metric(gate, upstream) == 1
    seconds = f"gateway_overhead_seconds_sum{{{own}}}"
    assert await metric(gate, seconds) > 0


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_service_takes_is_not_the_gateways_overhead(gate: Platform, way: str) -> None:
    async def slowly(received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        writer.write(
            b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{"
        )
        await writer.drain()
        await asyncio.sleep(0.4)
        writer.write(b"}")
        await writer.drain()

    gate.behave(slowly)
    assert await ask(gate, way) == 200
    method = "POST" if way == "keyed" else "GET"
    own = f'method="{method}",route="/{way}"'
    theirs = await metric(gate, f"upstream_request_duration_seconds_sum{{{own}")
    assert await metric(gate, f"gateway_overhead_seconds_sum{{{own}}}") < theirs


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [502, 503, 504])
async def test_an_overloaded_service_is_given_less(gate: Platform, way: str, status: int) -> None:
    gate.behave(always(json_answer({"error": "x"}, status)))
    name = "streams_limit" if way == "socket" else "limit"
    assert await limit(gate, name) == 100
    assert await ask(gate, way) == status
    assert await limit(gate, name) == 50


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_without_end_is_given_less_too(gate: Platform, way: str) -> None:
    async def cut(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        await writer.drain()
        writer.close()

    gate.behave(cut)
    name = "streams_limit" if way == "socket" else "limit"
    with_client = ask(gate, way)
    try:
        assert await with_client in (200, 502)
    except httpx.RemoteProtocolError:
        assert way == "plain"  # whose answer had begun
    assert await limit(gate, name) == 50


@pytest.mark.parametrize("way", WAYS)
async def test_its_place_is_given_back_once(gate: Platform, way: str) -> None:
    gate.behave(answer_to)
    gate.enrichment.stream = way == "socket"
    for _ in range(3):
        await ask(gate, way)

    async def empty() -> bool:
        got = await gate.client.get("/api/v1/gateway/upstreams", headers=gate.auth.bearer("admin"))
        (pool,) = got.json()["data"]["services"]
        return (pool["in_flight"], pool["streams"]) == (0, 0)

    await until(empty, 5)


async def test_an_open_socket_holds_its_place_until_it_ends(gate: Platform) -> None:
    gate.behave(answer_to, stream=True)
    host, port = gate.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /socket HTTP/1.1\r\nHost: x\r\nAuthorization: {gate.auth.bearer()['Authorization']}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    page = (await gate.client.get("/metrics")).text
    assert 'gateway_streams_in_flight{service="enrichment"} 1.0' in page
    writer.close()

    async def ended() -> bool:
        return await metric(gate, "gateway_streams_in_flight") == 0

    await until(ended, 10)


async def test_a_key_whose_client_has_gone_is_counted_all_the_same(gate: Platform) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slowly(_received: Received, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await may_end.wait()
        writer.write(json_answer({"error": "x"}, 503))
        await writer.drain()

    gate.behave(slowly, stream=True)
    asking = asyncio.create_task(ask(gate, "keyed"))
    await begun.wait()
    asking.cancel()
    await asyncio.wait([asking])
    may_end.set()

    async def less() -> bool:
        return await limit(gate, "limit") == 50

    await until(less, 5)


@pytest.mark.parametrize("way", WAYS)
async def test_one_organisation_leaves_room_to_the_others(
    tmp_path: Path, redis_at: str, way: str
) -> None:
    begun: list[Received] = []
    may_end = asyncio.Event()

    async def wait(received: Received, writer: asyncio.StreamWriter) -> None:
        begun.append(received)
        await may_end.wait()
        writer.write(json_answer({"code": 0}))
        await writer.drain()

    (tmp_path / "routes.toml").write_text(
        ROUTES.replace("limit = 100, most = 200, least = 10", "limit = 4")
    )
    async with platform_in(
        tmp_path,
        policy=NEVER_AGAIN,
        REDIS_URL=redis_at,
        GATEWAY_ROUTES=str(tmp_path / "routes.toml"),
    ) as gate:
        gate.behave(wait)
        held = [asyncio.create_task(ask(gate, way)) for _ in range(3)]

        async def all_begun() -> bool:
            return len(begun) == 3

        await until(all_begun, 5)
        assert await ask(gate, way) == 429
        other = asyncio.create_task(ask(gate, way, org=str(uuid4())))

        async def other_begun() -> bool:
            return len(begun) == 4

        await until(other_begun, 5)
        may_end.set()
        assert {await one for one in (*held, other)} == {200}


async def uploading(gate: Platform, way: str) -> asyncio.StreamWriter:
    """A request whose body is announced, begun, and does not end."""
    host, port = gate.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    key = f"Idempotency-Key: {uuid4()}\r\n" if way == "keyed" else ""
    writer.write(
        f"POST /{way} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n{key}"
        f"Authorization: {gate.auth.bearer()['Authorization']}\r\n\r\nbegun".encode()
    )
    return writer


@pytest.mark.parametrize("way", ["keyed", "written"])
async def test_a_body_is_not_read_without_a_place(gate: Platform, way: str) -> None:
    gate.behave(echo)
    writers = [await uploading(gate, way) for _ in range(5)]

    async def counted() -> bool:
        return await limit(gate, "in_flight") == 5

    await until(counted, 10)
    for writer in writers:
        writer.close()

    async def given_back() -> bool:
        return await limit(gate, "in_flight") == 0

    await until(given_back, 10)


async def test_an_operation_holds_its_place_after_its_client_has_gone(gate: Platform) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slowly(_received: Received, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await may_end.wait()
        writer.write(json_answer({"code": 0}))
        await writer.drain()

    gate.behave(slowly, stream=True)
    asking = asyncio.create_task(ask(gate, "keyed"))
    await begun.wait()
    asking.cancel()
    await asyncio.wait([asking])
    for _ in range(5):
        assert await limit(gate, "in_flight") == 1
    may_end.set()

    async def given_back() -> bool:
        return await limit(gate, "in_flight") == 0

    await until(given_back, 10)


async def test_what_is_answered_from_what_is_kept_says_nothing_of_the_service(
    gate: Platform,
) -> None:
    gate.behave(always(json_answer({"code": 0})))
    headers = {**gate.auth.bearer(), "Idempotency-Key": str(uuid4())}
    for body, status in ((b"1", 200), (b"1", 200), (b"2", 409)):
        got = await gate.client.post("/keyed", content=body, headers=headers)
        assert got.status_code == status
        assert (await limit(gate, "limit"), await limit(gate, "in_flight")) == (100, 0)


async def failing(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(json_answer({"error": "x"}, 500))
    await writer.drain()


async def breaking_off(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(json_answer({"code": 0}, 201)[:-1])
    await writer.drain()
    writer.close()


async def saying_nothing(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def late(_received: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)
    writer.close()


async def refusing(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(json_answer({"error": "x"}, 409))
    await writer.drain()


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(
    ("behaviour", "asked"),
    [(failing, 2), (breaking_off, 2), (saying_nothing, 2), (late, 2), (refusing, 1)],
)
async def test_what_may_have_been_changed_is_asked_for_again(
    gate: Platform, behaviour: Behaviour, asked: int, keyed: bool
) -> None:
    async def behave(received: Received, writer: asyncio.StreamWriter) -> None:
        await (echo if received.method == "GET" else behaviour)(received, writer)

    gate.behave(behave)
    mine = gate.auth.bearer(sub=f"user:{uuid4()}")
    key = {"Idempotency-Key": str(uuid4())} if keyed else {}
    assert (await gate.client.get("/kept", headers=mine)).status_code == 200
    try:
        got = await gate.client.post("/written", json={}, headers={**mine, **key})
        assert got.status_code >= 400
    except httpx.RemoteProtocolError:
        assert behaviour is breaking_off
    assert (await gate.client.get("/kept", headers=mine)).status_code == 200
    assert sum(one.method == "GET" for one in gate.enrichment.requests) == asked
