"""Clients that are slow, silent, half gone or too many: waiting for them has an end."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from gateway.downstream.connection import MAX_REQUESTS, TASK
from gateway.timeouts import Timeouts
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.http_corpus.recorder import Answer, answers_in
from tests.gateway.wire import Received, answer, echo, json_answer, until

ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/echo/{id}", scope = "public" },
  { method = "POST", path = "/echo/{id}", scope = "public", body_limit = 4_194_304 },
]
"""
GET = b"GET /echo/1 HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /echo/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST /echo/1 HTTP/1.1\r\nHost: x\r\n"
HASTY = Timeouts(
    head=0.3, keep_alive=0.3, stall=0.35, grace=0.25, rate=1000.0, linger=0.3, idle=0.5
)
LATEST = 2.5  # seconds; deadlines are looked at 5 times a second, and this machine may be busy


@pytest.fixture(scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Platform]:
    home = tmp_path_factory.mktemp("slow")
    (home / "routes.toml").write_text(ROUTES)
    async with platform_in(
        home, HASTY, REDIS_URL=redis_at, GATEWAY_ROUTES=str(home / "routes.toml")
    ) as platform:
        yield platform


@pytest.fixture
async def hasty(running: Platform) -> AsyncIterator[Platform]:
    """A gateway that waits for nobody; no test may leave anything of a client behind."""
    running.behave(echo)
    nothing = left_by_clients_of(running)
    yield running
    await until(nothing, 3)


@pytest.fixture(scope="module")
async def patient(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Platform]:
    home = tmp_path_factory.mktemp("patient")
    (home / "routes.toml").write_text(ROUTES)
    async with platform_in(
        home, REDIS_URL=redis_at, GATEWAY_ROUTES=str(home / "routes.toml")
    ) as platform:
        yield platform


def left_by_clients_of(platform: Platform) -> Callable[[], Awaitable[bool]]:
    """Tells whether the clients that come from now on have left nothing behind."""
    before = serving_tasks()  # other gateways of this run have clients of their own

    async def nothing() -> bool:
        return connections_of(platform) == 0 and serving_tasks() <= before

    return nothing


def connections_of(platform: Platform) -> int:
    """Sockets that the gateway still has for clients."""
    port = int(platform.url.rpartition(":")[2])
    return sum(
        one.laddr.port == port and one.status != psutil.CONN_LISTEN
        for one in psutil.Process().net_connections("tcp")
    )


def serving_tasks() -> int:
    return sum(one.get_name() == TASK for one in asyncio.all_tasks())


@asynccontextmanager
async def connected(
    platform: Platform,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = platform.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def drip(
    writer: asyncio.StreamWriter, data: bytes, pause: float, *, at_once: int = 1
) -> None:
    for at in range(0, len(data), at_once):
        if writer.is_closing():
            return
        writer.write(data[at : at + at_once])
        await asyncio.sleep(pause)


async def rest(reader: asyncio.StreamReader, seconds: float = 5) -> bytes:
    parts = []
    async with asyncio.timeout(seconds):
        try:
            while part := await reader.read(1 << 18):
                parts.append(part)
        except ConnectionError:
            pass
    return b"".join(parts)


async def dripped(platform: Platform, at_once: bytes, slowly: bytes) -> tuple[list[Answer], float]:
    """What comes of a request whose end is sent byte by byte, and after how many seconds."""
    async with connected(platform) as (reader, writer):
        started = time.monotonic()
        writer.write(at_once)
        dripping = asyncio.create_task(drip(writer, slowly, 0.02))
        try:
            return answers_in(await rest(reader)), time.monotonic() - started
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)


async def ask(platform: Platform) -> float:
    """Seconds until a request on a connection of its own is answered."""
    started = time.monotonic()
    async with connected(platform) as (reader, writer):
        writer.write(LAST)
        assert [one.status for one in answers_in(await rest(reader))] == [200]
    return time.monotonic() - started


# Heads.


async def test_a_head_that_drips_is_given_up_however_often_a_byte_comes(hasty: Platform) -> None:
    head = b"GET /echo/1 HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 500
    got, took = await dripped(hasty, b"", head)
    assert [one.status for one in got] == [408]
    assert got[0].json()["error"] == "request_timeout"
    assert got[0].header("connection") == "close"
    assert 0.25 < took < LATEST


async def test_the_head_of_a_later_request_may_not_drip_either(hasty: Platform) -> None:
    got, took = await dripped(hasty, GET, b"GET /echo/2 HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 500)
    assert [one.status for one in got] == [200, 408]
    assert 0.25 < took < LATEST


async def test_a_head_that_stops_in_the_middle_is_408(hasty: Platform) -> None:
    got, _ = await dripped(hasty, GET[:-2], b"")
    assert [one.status for one in got] == [408]


async def test_a_slow_head_within_its_time_is_answered(hasty: Platform) -> None:
    async with connected(hasty) as (reader, writer):
        for part in (LAST[:5], LAST[5:30], LAST[30:]):
            writer.write(part)
            await asyncio.sleep(0.03)
        assert [one.status for one in answers_in(await rest(reader))] == [200]


async def test_a_client_that_says_nothing_is_left_without_a_word(hasty: Platform) -> None:
    started = time.monotonic()
    async with connected(hasty) as (reader, _):
        assert await rest(reader) == b""
    assert 0.25 < time.monotonic() - started < LATEST


async def test_a_connection_that_is_not_used_again_is_closed_without_a_word(
    hasty: Platform,
) -> None:
    async with connected(hasty) as (reader, writer):
        writer.write(GET)
        started = time.monotonic()
        assert [one.status for one in answers_in(await rest(reader))] == [200]
    assert 0.25 < time.monotonic() - started < LATEST


# Bodies.


async def test_a_body_that_drips_is_given_up(hasty: Platform) -> None:
    got, took = await dripped(hasty, POST + b"Content-Length: 500\r\n\r\n", b"a" * 500)
    assert [one.status for one in got] == [408]
    assert got[0].header("connection") == "close"
    assert 0.2 < took < LATEST
    assert await until_lost(hasty)


async def test_chunks_that_drip_are_given_up(hasty: Platform) -> None:
    body = b"1\r\na\r\n" * 200
    got, took = await dripped(hasty, POST + b"Transfer-Encoding: chunked\r\n\r\n", body)
    assert [one.status for one in got] == [408]
    assert 0.2 < took < LATEST


async def test_chunk_extensions_are_no_way_to_stay(hasty: Platform) -> None:
    body = b"1;" + b"a" * 250
    got, took = await dripped(hasty, POST + b"Transfer-Encoding: chunked\r\n\r\n", body)
    assert [one.status for one in got] == [408]
    assert took < LATEST


async def test_trailers_are_no_way_to_stay(hasty: Platform) -> None:
    body = b"X: " + b"a" * 500
    framing = b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    got, took = await dripped(hasty, POST + framing, body)
    assert [one.status for one in got] == [408]
    assert took < LATEST


async def test_a_body_that_comes_fast_enough_may_take_its_time(hasty: Platform) -> None:
    """3000 B/s for longer than the grace; the least is 1000."""
    async with connected(hasty) as (reader, writer):
        writer.write(POST + b"Connection: close\r\nContent-Length: 1800\r\n\r\n")
        for _ in range(6):
            writer.write(b"a" * 300)
            await asyncio.sleep(0.1)
        got = answers_in(await rest(reader))
    assert [(one.status, one.json()["data"]["size"]) for one in got] == [(200, 1800)]


async def test_a_client_that_came_far_may_not_stop_for_long(hasty: Platform) -> None:
    async with connected(hasty) as (reader, writer):
        writer.write(POST + b"Content-Length: 200000\r\n\r\n" + b"a" * 100_000)
        started = time.monotonic()
        assert [one.status for one in answers_in(await rest(reader))] == [408]
        assert 0.25 < time.monotonic() - started < LATEST


async def test_a_slow_service_is_not_blamed_on_its_client(hasty: Platform) -> None:
    """The service takes nothing for longer than a client has for its body."""

    async def late(received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        size = 0
        async for part in received.parts():
            size += len(part)
            if size < 1_000_000:
                await asyncio.sleep(0.02)
        writer.write(json_answer({"size": size}))

    hasty.behave(late, stream=True)
    async with connected(hasty) as (reader, writer):
        writer.write(POST + b"Connection: close\r\nContent-Length: 3000000\r\n\r\n")
        for _ in range(30):
            writer.write(b"a" * 100_000)
            await writer.drain()
        got = answers_in(await rest(reader))
    assert [(one.status, one.json()) for one in got] == [(200, {"size": 3_000_000})]


async def test_leave_to_send_is_given_and_then_expected_to_be_used(hasty: Platform) -> None:
    got, took = await dripped(
        hasty, POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b""
    )
    assert [one.status for one in got] == [100, 408]
    assert took < LATEST


async def until_lost(platform: Platform) -> bool:
    """Whether the service saw its half of the request end (or never got any of it)."""
    if platform.enrichment.requests:
        await asyncio.wait_for(platform.enrichment.lost.wait(), 2)
    return True


# Answers.


async def test_a_client_that_takes_no_answers_is_cut_off(hasty: Platform) -> None:
    hasty.behave(_large)
    nothing = left_by_clients_of(hasty)
    async with connected(hasty) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET * 50)
        started = time.monotonic()
        await until(nothing, 6)
        assert 0.4 < time.monotonic() - started < 5


async def test_sending_on_is_no_way_to_leave_an_answer_untaken(hasty: Platform) -> None:
    """The service answers before it has all of the request, with more than sockets hold."""

    async def early(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, b"a" * 40_000_000))
        await writer.drain()

    hasty.behave(early, stream=True)
    nothing = left_by_clients_of(hasty)
    async with connected(hasty) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(POST + b"Content-Length: 4000000\r\n\r\n")
        sending = asyncio.create_task(drip(writer, b"a" * 400_000, 0.05, at_once=200))
        try:
            await until(nothing, 5)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def test_a_client_that_takes_its_time_gets_all_of_its_answer(hasty: Platform) -> None:
    hasty.behave(_large)
    received = 0
    async with connected(hasty) as (reader, writer):
        writer.write(LAST)
        while part := await reader.read(1 << 18):
            received += len(part)
            await asyncio.sleep(0.05)
    assert received > 3_000_000


async def _large(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, b"a" * 3_000_000))
    await writer.drain()


async def test_a_refused_client_that_goes_on_sending_is_cut_off(hasty: Platform) -> None:
    async with connected(hasty) as (reader, writer):
        writer.write(b"GET /echo/1 HTTP/1.1\r\nHost : x\r\n\r\n")
        assert [one.status for one in answers_in(await rest(reader))] == [400]
        started = time.monotonic()
        while not writer.is_closing() and time.monotonic() - started < 5:
            writer.write(b"a" * 10_000)
            await asyncio.sleep(0.02)
        assert time.monotonic() - started < LATEST


# Half a connection.


@pytest.mark.parametrize("sent", [b"", GET[:7], GET[:-2], POST + b"Content-Length: 9\r\n\r\nhalf"])
@pytest.mark.parametrize("rudely", [False, True])
async def test_a_client_that_goes_away_leaves_nothing_behind(
    patient: Platform, sent: bytes, rudely: bool
) -> None:
    nothing = left_by_clients_of(patient)
    async with connected(patient) as (_, writer):
        writer.write(sent)
        await asyncio.sleep(0.03)
        if rudely:
            writer.transport.abort()
        else:
            writer.write_eof()
        await until(nothing, 3)


async def test_a_client_that_half_closes_after_a_bad_request_gets_no_second_answer(
    hasty: Platform,
) -> None:
    async with connected(hasty) as (reader, writer):
        writer.write(b"GET /echo/1 HTTP/1.1\r\nHost : x\r\n\r\n" + GET)
        writer.write_eof()
        got = await rest(reader)
    assert got.count(b"HTTP/1.1 ") <= 1
    assert hasty.enrichment.requests == []


async def test_a_stop_tells_clients_that_this_was_the_last_answer(
    tmp_path: Path, redis_at: str
) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text(ROUTES)

    async def slowly(received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await echo(received, writer)

    async with AsyncExitStack() as clients:
        async with platform_in(tmp_path, REDIS_URL=redis_at, GATEWAY_ROUTES=str(routes)) as own:
            own.behave(slowly)
            reader, writer = await clients.enter_async_context(connected(own))
            writer.write(GET + GET)
            await asyncio.sleep(0.1)
        got = answers_in(await rest(reader))
    assert [(one.status, one.header("connection")) for one in got] == [(200, "close")]


# Many.


async def test_a_hundred_requests_at_once_are_answered_in_order(hasty: Platform) -> None:
    async with connected(hasty) as (reader, writer):
        writer.write(
            b"".join(b"GET /echo/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(100))
            + LAST
        )
        got = answers_in(await rest(reader))
    wanted = [*(f"/echo/{number}" for number in range(100)), "/echo/last"]
    assert [one.json()["data"]["target"] for one in got] == wanted


async def test_requests_sent_ahead_don_t_keep_others_waiting(hasty: Platform) -> None:
    async with connected(hasty) as (reader, writer):
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * 3000 + LAST)
        ahead = asyncio.create_task(rest(reader))
        await asyncio.sleep(0.02)
        assert await ask(hasty) < 0.25
        assert not ahead.done()
        assert (await ahead).count(b"HTTP/1.1 404 ") == 3000


async def test_a_connection_carries_so_many_requests_and_no_more(hasty: Platform) -> None:
    request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    async with connected(hasty) as (reader, writer):
        writer.write(request * (MAX_REQUESTS + 5))
        received = await rest(reader, 20)
    assert received.count(b"HTTP/1.1 404 ") == MAX_REQUESTS
    assert received.count(b"connection: close\r\n") == 1
    assert b"connection: close\r\n" in received[-2000:]


@asynccontextmanager
async def crowd(platform: Platform, size: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections that have been used once and are idle now."""
    host, port = platform.url.removeprefix("http://").split(":")
    pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        while len(pairs) < size:
            pairs += await asyncio.gather(
                *(asyncio.open_connection(host, int(port), limit=4096) for _ in range(100))
            )
            for reader, writer in pairs[-100:]:
                writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"}")
        yield [reader for reader, _ in pairs]
    finally:
        for _, writer in pairs:
            writer.transport.abort()


async def idle_crowd(platform: Platform, size: int) -> None:
    nothing = left_by_clients_of(platform)
    process = psutil.Process()
    before = process.memory_info().rss
    async with crowd(platform, size):
        assert connections_of(platform) >= size
        grown = (process.memory_info().rss - before) / size
        assert grown < 40_000, f"{grown:.0f} bytes for a connection, both ends"
        took = sorted([await ask(platform) for _ in range(50)])
        assert took[25] < 0.1
    await until(nothing, 10)


async def test_500_idle_connections_disturb_nobody(patient: Platform) -> None:
    await idle_crowd(patient, 500)


@pytest.mark.slow
async def test_5000_idle_connections_disturb_nobody(patient: Platform) -> None:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < 12_000:
        if most < 12_000:
            pytest.skip("needs 12,000 open files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (12_000, most))
    await idle_crowd(patient, 5000)


async def test_idle_connections_all_end_in_time(hasty: Platform) -> None:
    async with crowd(hasty, 200) as readers:
        ends = await asyncio.wait_for(
            asyncio.gather(*(reader.read() for reader in readers)), LATEST
        )
    assert set(ends) == {b""}
