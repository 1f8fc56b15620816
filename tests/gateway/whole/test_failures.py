"""Services that are late, dead, rude, or die in the middle; clients that go away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.timeouts import Timeouts
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.wire import (
    Behaviour,
    Received,
    always,
    answer,
    echo,
    exchange,
    json_answer,
    served,
)

ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/quick/{id}", scope = "public", timeout = 0.3 },
  { method = "POST", path = "/quick/{id}", scope = "public", timeout = 0.3 },
  { method = "PUT", path = "/quick/{id}", scope = "public", timeout = 0.3 },
  { method = "GET", path = "/calm", scope = "public" },
  { method = "POST", path = "/calm", scope = "public" },
]
"""


@pytest.fixture(scope="module")
async def impatient(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Platform]:
    """A gateway that waits for nobody."""
    home = tmp_path_factory.mktemp("impatient")
    (home / "routes.toml").write_text(ROUTES)
    async with platform_in(
        home,
        Timeouts(connect=0.3, idle=0.4, stall=0.3, linger=0.2),
        REDIS_URL=redis_at,
        GATEWAY_ROUTES=str(home / "routes.toml"),
    ) as running:
        yield running


async def silence(_received: Received, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


def then_dies(beginning: bytes, *, reset: bool = False) -> Behaviour:
    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        await writer.drain()
        if reset:
            await asyncio.sleep(0.05)
            writer.transport.abort()
        else:
            writer.close()

    return behave


async def test_a_service_that_does_not_answer_is_504(impatient: Platform) -> None:
    wire = impatient.behave(silence)
    started = time.monotonic()
    got = await impatient.client.get("/quick/1")
    assert (got.status_code, got.json()["error"]) == (504, "upstream_timeout")
    assert got.headers["retry-after"] == "2"
    assert 0.25 < time.monotonic() - started < 2
    await asyncio.wait_for(wire.lost.wait(), 1)


async def test_the_time_to_answer_begins_when_the_request_is_sent(impatient: Platform) -> None:
    async def slow_upload():
        for _ in range(6):
            yield b"x"
            await asyncio.sleep(0.1)

    async def receive(received: Received, writer: asyncio.StreamWriter) -> None:
        async for _ in received.parts():
            pass
        writer.write(json_answer({}))

    impatient.behave(receive, stream=True)
    got = await impatient.client.post("/quick/1", content=slow_upload())
    assert got.status_code == 200


async def test_a_late_answer_after_an_upload_is_504(impatient: Platform) -> None:
    async def upload():
        yield b"x"
        await asyncio.sleep(0.05)
        yield b"y"

    async def receive(received: Received, _writer: asyncio.StreamWriter) -> None:
        async for _ in received.parts():
            pass
        await asyncio.sleep(5)

    impatient.behave(receive, stream=True)
    got = await impatient.client.post("/quick/1", content=upload())
    assert got.status_code == 504


async def test_an_answer_may_take_longer_than_its_beginning(impatient: Platform) -> None:
    async def slowly(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.1)
            writer.write(b"x")

    impatient.behave(slowly)
    assert (await impatient.client.get("/quick/1")).content == b"x" * 6


async def test_an_answer_that_pauses_too_long_is_cut(impatient: Platform) -> None:
    impatient.behave(always(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nx"))
    with pytest.raises(httpx.RemoteProtocolError):
        await impatient.client.get("/calm")


async def test_a_client_that_stalls_in_its_body_is_refused(impatient: Platform) -> None:
    async def receive(received: Received, writer: asyncio.StreamWriter) -> None:
        async for _ in received.parts():
            pass
        writer.write(json_answer({}))

    wire = impatient.behave(receive, stream=True)
    head = b"POST /quick/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
    got = await exchange(impatient.url, head)
    assert got.startswith(b"HTTP/1.1 408 ")
    await asyncio.wait_for(wire.lost.wait(), 1)


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
    ],
)
async def test_an_answer_that_is_not_http_is_502(impatient: Platform, garbage: bytes) -> None:
    impatient.behave(always(garbage))
    got = await impatient.client.get("/quick/1")
    assert (got.status_code, got.json()["error"]) == (502, "bad_gateway")


async def test_two_answers_to_one_request_don_t_mix(impatient: Platform) -> None:
    second = answer(200, b"stolen")
    impatient.behave(always(answer(200, b"first") + second))
    assert (await impatient.client.get("/quick/1")).content == b"first"
    impatient.behave(echo)
    assert (await impatient.client.get("/quick/1")).json()["data"]["target"] == "/quick/1"


async def test_bytes_nobody_asked_for_end_the_connection(impatient: Platform) -> None:
    late: list[asyncio.StreamWriter] = []

    async def more_later(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, b"first"))
        late.append(writer)

    impatient.behave(more_later)
    await impatient.client.get("/quick/1")
    late[0].write(answer(200, b"stolen"))
    await asyncio.sleep(0.05)
    impatient.behave(echo)
    assert (await impatient.client.get("/quick/1")).json()["data"]["target"] == "/quick/1"


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_a_service_that_hangs_up_before_its_answer_is_502(
    impatient: Platform, beginning: bytes
) -> None:
    impatient.behave(then_dies(beginning))
    got = await impatient.client.post("/quick/1", content=b"x")
    assert (got.status_code, got.json()["error"]) == (502, "bad_gateway")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome of it",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfff\r\nsome of it",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n",
    ],
)
async def test_an_answer_that_breaks_off_never_looks_whole(
    impatient: Platform, beginning: bytes, reset: bool
) -> None:
    impatient.behave(then_dies(beginning, reset=reset))
    raw = await exchange(
        impatient.url, b"GET /calm HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    if raw.startswith(b"HTTP/1.1 502 "):
        return  # nothing had been passed on yet
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    if b"content-length: 1000" in head:
        assert len(body) < 1000
    else:
        assert not body.endswith(b"0\r\n\r\n")
    with pytest.raises(httpx.HTTPError):
        (await impatient.client.get("/calm")).raise_for_status()


async def test_what_a_service_says_of_its_own_failure_is_passed_on(impatient: Platform) -> None:
    said = json_answer({"code": 1020, "error": "store_error"}, 500)
    impatient.behave(always(said))
    got = await impatient.client.get("/quick/1")
    assert (got.status_code, got.json()) == (500, {"code": 1020, "error": "store_error"})
    impatient.behave(always(answer(503, b"{}", headers={"Retry-After": "7"})))
    got = await impatient.client.get("/quick/1")
    assert (got.status_code, got.headers["retry-after"]) == (503, "7")


async def test_a_client_that_goes_away_ends_the_services_work(impatient: Platform) -> None:
    wire = impatient.behave(silence)
    with pytest.raises(httpx.ReadTimeout):
        await impatient.client.get("/calm", timeout=0.2)
    await asyncio.wait_for(wire.lost.wait(), 1)


async def test_a_client_that_goes_away_in_its_upload_ends_it(impatient: Platform) -> None:
    async def receive(received: Received, _writer: asyncio.StreamWriter) -> None:
        async for _ in received.parts():
            pass

    wire = impatient.behave(receive, stream=True)
    host, port = impatient.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /quick/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    await asyncio.sleep(0.1)
    assert wire.requests
    writer.transport.abort()
    await asyncio.wait_for(wire.lost.wait(), 1)


async def test_a_client_that_goes_away_in_its_answer_ends_it(impatient: Platform) -> None:
    async def endless(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"5\r\nhello\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    wire = impatient.behave(endless)
    async with impatient.client.stream("GET", "/calm") as got:
        async for _ in got.aiter_raw():
            break
    await asyncio.wait_for(wire.lost.wait(), 1)


async def test_no_replica_is_an_enveloped_503_with_retry_after(
    tmp_path: Path, redis_at: str
) -> None:
    async with platform_in(tmp_path, REDIS_URL=redis_at) as own:
        await own.enrichment.stop()
        got = await own.get("/api/v1/calls")
        assert (got.status_code, got.json()["error"]) == (503, "upstream_unavailable")
        assert int(got.headers["retry-after"]) >= 1
        assert (await own.get("/api/v1/periods")).status_code == 200


async def test_a_dead_replica_costs_no_request(tmp_path: Path, redis_at: str) -> None:
    async with served(echo) as one, served(echo) as two, served(echo) as auth:
        urls = f"auth={auth.url},enrichment={one.url},enrichment={two.url}"
        routes = tmp_path / "routes.toml"
        routes.write_text(ROUTES)
        async with platform_in(
            tmp_path, REDIS_URL=redis_at, GATEWAY_UPSTREAMS=urls, GATEWAY_ROUTES=str(routes)
        ) as own:
            for number in range(30):
                assert (await own.client.get(f"/quick/{number}")).status_code == 200
            assert one.requests
            assert two.requests
            await one.stop()
            for number in range(10):
                got = await own.client.post(f"/quick/{number}", content=b"body")
                assert got.status_code == 200
                assert got.json()["data"]["size"] == 4


async def test_the_less_busy_replica_gets_the_request(tmp_path: Path, redis_at: str) -> None:
    async with served(silence) as slow, served(echo) as quick, served(echo) as auth:
        urls = f"auth={auth.url},enrichment={slow.url},enrichment={quick.url}"
        routes = tmp_path / "routes.toml"
        routes.write_text(ROUTES)
        async with platform_in(
            tmp_path, REDIS_URL=redis_at, GATEWAY_UPSTREAMS=urls, GATEWAY_ROUTES=str(routes)
        ) as own:
            waiting = [asyncio.create_task(own.client.get("/calm")) for _ in range(2)]
            await asyncio.sleep(0.1)
            for number in range(10):
                assert (await own.client.get(f"/quick/{number}")).status_code == 200
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_kept_connection_that_was_closed_is_replaced(impatient: Platform) -> None:
    """A service that restarts closes its connections; the next request must not notice."""

    async def close_at_once(received: Received, writer: asyncio.StreamWriter) -> None:
        await echo(received, writer)
        writer.close()

    impatient.behave(close_at_once)
    for number in range(20):
        got = await impatient.client.get(f"/quick/{number}")
        assert got.status_code == 200


async def test_only_what_may_be_repeated_is_sent_twice(impatient: Platform) -> None:
    """A connection that dies under a request: GET goes out again, POST does not."""
    impatient.behave(echo)
    assert (await impatient.client.get("/calm")).status_code == 200  # its connection is kept
    wire = impatient.behave(then_dies(b""))
    got = await impatient.client.get("/calm")
    assert (got.status_code, len(wire.requests)) == (502, 2)
    impatient.behave(echo)
    assert (await impatient.client.get("/calm")).status_code == 200
    wire = impatient.behave(then_dies(b""))
    got = await impatient.client.post("/calm", content=b"once")
    assert (got.status_code, len(wire.requests)) == (502, 1)


async def test_an_instance_that_does_not_accept_is_given_up(tmp_path: Path, redis_at: str) -> None:
    """An address that swallows packets: its queue of connections is full."""
    with contextlib.ExitStack() as sockets:
        listening = sockets.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        await asyncio.sleep(0.1)
        routes = tmp_path / "routes.toml"
        routes.write_text(ROUTES)
        async with platform_in(
            tmp_path,
            Timeouts(connect=0.3),
            REDIS_URL=redis_at,
            GATEWAY_ROUTES=str(routes),
            GATEWAY_UPSTREAMS=f"enrichment=http://127.0.0.1:{listening.getsockname()[1]}",
        ) as own:
            started = time.monotonic()
            got = await own.client.get("/calm")
            assert got.status_code == 503
            assert 0.2 < time.monotonic() - started < 1.5


async def test_a_stop_lets_requests_in_flight_finish(tmp_path: Path, redis_at: str) -> None:
    async def slowly(received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        await echo(received, writer)

    async with httpx.AsyncClient() as client:
        async with platform_in(tmp_path, REDIS_URL=redis_at) as own:
            own.behave(slowly)
            pending = asyncio.create_task(
                client.get(f"{own.url}/api/v1/calls", headers=own.auth.bearer())
            )
            await asyncio.sleep(0.2)
        assert (await pending).status_code == 200
