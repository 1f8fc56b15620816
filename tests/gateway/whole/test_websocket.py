"""Opening WebSockets through the gateway: who may, what the service sees, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from gateway.timeouts import Timeouts
from tests.gateway.sockets import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Sockets,
    client,
    echo_frames,
    frame,
    handshake,
    read_frame,
    sockets_in,
    switching,
)
from tests.gateway.wire import Received, answer, exchange, until

QUICK = Timeouts(recheck=0.1, linger=0.3)


@pytest.fixture(scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Sockets]:
    home = tmp_path_factory.mktemp("sockets")
    async with sockets_in(home, QUICK, REDIS_URL=redis_at) as platform:
        yield platform


@pytest.fixture
async def sockets(running: Sockets) -> AsyncIterator[Sockets]:
    """A gateway of which no test may leave anything open."""
    running.chat.use(echo_frames)
    yield running
    await until(running.all_closed, 15)


async def test_real_clients_and_servers_talk_through_it(tmp_path: Path, redis_at: str) -> None:
    async def greet(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    v2 = Subprotocol("v2")
    async with serve(greet, "127.0.0.1", 0, subprotocols=[v2], max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with sockets_in(
            tmp_path, QUICK, service=f"http://127.0.0.1:{port}", REDIS_URL=redis_at
        ) as running:
            address = running.url.replace("http", "ws") + "/open/1"
            async with connect(
                address, subprotocols=[Subprotocol("v1"), v2], max_size=None, proxy=None
            ) as socket:
                assert socket.subprotocol == "v2"
                assert socket.protocol.extensions == []
                for said in ("你好", b"\x00\xff", "", "x" * 1_000_000):
                    await socket.send(said)
                    assert await socket.recv() == said
                await (await socket.ping())
                await socket.close(4000, "enough")
            assert socket.close_code == 4000
            assert await running.open_count() == 0


async def test_messages_pings_and_closes_pass(sockets: Sockets) -> None:
    async with client(sockets, handshake()) as one:
        assert one.status == 101
        assert one.head.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        for opcode, heard in ((TEXT, TEXT), (PING, PONG), (CLOSE, CLOSE)):
            await one.say(b"hi", opcode)
            assert await one.hear() == (heard, b"hi")
        assert await one.rest() == b""


async def test_a_service_gets_what_it_gets_of_any_request_and_a_handshake(
    sockets: Sockets,
) -> None:
    sent = handshake(
        "/open/%41?x=1",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Protocol: a, b",
        "X-Deadline-Ms: 5000",
        "X-User-Id: 1",
        "X-Named: 1",
        "Accept-Language: zh",
        "Cookie: a=b",
        Connection="Upgrade, X-Named",
    )
    async with client(sockets, sent) as one:
        assert one.status == 101
    got = sockets.chat.last
    assert got.target == "/open/A?x=1"
    assert got.values("connection") == ["Upgrade"]
    assert got.values("upgrade") == ["websocket"]
    assert got.values("sec-websocket-version") == ["13"]
    assert got.values("sec-websocket-protocol") == ["a, b"]
    assert got.values("accept-language") == ["zh"]
    for name in ("x-internal-token", "x-request-id", "traceparent", "x-forwarded-for", "host"):
        assert len(got.values(name)) == 1
    for name in ("sec-websocket-extensions", "x-deadline-ms", "x-user-id", "x-named", "cookie"):
        assert got.values(name) == []
    assert one.head.header("x-request-id") == got.header("x-request-id")


# Who may.


async def test_a_token_may_come_as_a_subprotocol(
    sockets: Sockets, capfd: pytest.CaptureFixture[str]
) -> None:
    token = sockets.auth.token()
    sent = handshake("/talk/1", Sec_WebSocket_Protocol=f"v1, looma.bearer.{token}")
    async with client(sockets, sent) as one:
        assert one.status == 101
        await one.say(b"hi", TEXT)
        assert await one.hear() == (TEXT, b"hi")
    assert sockets.chat.last.values("sec-websocket-protocol") == ["v1"]
    assert token.encode() not in one.head.raw
    assert token.encode() not in sockets.chat.last.raw
    written = capfd.readouterr()
    assert token not in written.out + written.err


async def test_a_token_may_come_as_ever(sockets: Sockets) -> None:
    for name, value in (
        ("Authorization", f"Bearer {sockets.auth.token()}"),
        ("X-API-Key", sockets.auth.new_key()),
        ("Sec-WebSocket-Protocol", f"looma.bearer.{sockets.auth.new_key()}"),
    ):
        async with client(sockets, handshake("/talk/1", f"{name}: {value}")) as one:
            assert one.status == 101
        assert sockets.chat.last.values(name.lower()) == []


async def test_a_token_in_a_subprotocol_is_one_on_websocket_routes_only(sockets: Sockets) -> None:
    sockets.chat.use(_plainly)
    got = await exchange(
        sockets.url,
        handshake("/plain", Sec_WebSocket_Protocol="looma.bearer.t"),
        until_closed=False,
    )
    assert got.startswith(b"HTTP/1.1 200 ")
    assert sockets.chat.last.values("upgrade") == []
    assert sockets.chat.last.values("authorization") == []


@pytest.mark.parametrize(
    ("lines", "status", "error"),
    [
        ([], 401, "unauthenticated"),
        (["Sec-WebSocket-Protocol: looma.bearer."], 401, "unauthenticated"),
        (["Sec-WebSocket-Protocol: looma.bearer.a.b.c"], 401, "unauthenticated"),
        (["Sec-WebSocket-Protocol: looma.bearer.a, looma.bearer.b"], 401, "unauthenticated"),
        (
            ["Sec-WebSocket-Protocol: looma.bearer.a", "Authorization: Bearer b"],
            401,
            "unauthenticated",
        ),
    ],
)
async def test_who_may_not_opens_nothing(
    sockets: Sockets, lines: list[str], status: int, error: str
) -> None:
    got = await exchange(sockets.url, handshake("/talk/1", *lines))
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert orjson.loads(got.rpartition(b"\r\n\r\n")[2])["error"] == error
    assert sockets.chat.requests == []


async def test_a_limit_counts_handshakes(sockets: Sockets) -> None:
    seen = []
    for _ in range(3):
        async with client(sockets, handshake("/limited")) as one:
            seen.append(one.status)
            limits = one.head.header("ratelimit-limit")
    assert seen == [101, 101, 429]
    assert limits is not None


async def test_an_open_socket_holds_its_place_among_streams(tmp_path: Path, redis_at: str) -> None:
    async with sockets_in(tmp_path, QUICK, streams=1, REDIS_URL=redis_at) as few:
        async with client(few, handshake()) as first:
            assert first.status == 101
            async with client(few, handshake()) as second:
                assert second.status == 503
                assert second.head.header("retry-after") is not None
        await until(few.all_closed, 15)
        async with client(few, handshake()) as third:
            assert third.status == 101


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://app.example", "app.example", 101),
        ("https://evil.example", "app.example", 403),
        ("null", "app.example", 403),
        (None, "app.example", 101),
    ],
)
async def test_pages_of_other_hosts_open_nothing(
    sockets: Sockets, origin: str | None, host: str, status: int
) -> None:
    async with client(sockets, handshake(Origin=origin, Host=host)) as one:
        assert one.status == status
    assert len(sockets.chat.requests) == (status == 101)


async def test_origins_that_are_set_are_the_ones_that_may(tmp_path: Path, redis_at: str) -> None:
    origin = "https://app.example"
    async with sockets_in(tmp_path, QUICK, CORS_ORIGINS=origin, REDIS_URL=redis_at) as cors:
        for lines, status in (
            ([f"Origin: {origin}"], 101),
            (["Origin: https://other.example"], 403),
            ([f"Origin: {origin}", "Origin: https://other.example"], 403),
            (["Origin: http://x"], 403),
            ([], 101),
        ):
            async with client(cors, handshake("/open/1", *lines)) as one:
                assert one.status == status, lines


# What is no handshake, or a bad one.


async def test_a_plain_request_is_told_to_upgrade(sockets: Sockets) -> None:
    for _ in range(2):  # and its connection stays
        got = await sockets.http.get("/open/1")
        assert (got.status_code, got.json()["error"]) == (426, "upgrade_required")
        assert got.headers["upgrade"] == "websocket"
        assert "Upgrade" in got.headers["connection"]
        assert got.headers["sec-websocket-version"] == "13"
    assert (await sockets.http.post("/open/1")).status_code == 405
    assert sockets.chat.requests == []


async def test_an_item_of_a_batch_is_told_to_upgrade(sockets: Sockets) -> None:
    got = await sockets.http.post(
        "/api/v1/batch",
        json={"requests": [{"method": "GET", "path": "/api/open"}]},
        headers=sockets.auth.bearer(),
    )
    assert [one["status"] for one in got.json()["data"]["responses"]] == [426]


HIDDEN = b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (handshake(Sec_WebSocket_Version="8"), 426),
        (handshake(Sec_WebSocket_Version="777"), 426),
        (handshake(Sec_WebSocket_Version=None), 426),
        (handshake(Upgrade="h2c", HTTP2_Settings="AAMAAABkAAQCAAAAAAIAAAAA"), 426),
        (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
        (handshake("/open/1", "Upgrade: websocket"), 400),
        (handshake("/open/1", "Upgrade: h2c"), 400),
        (handshake(Upgrade="websocket, h2c"), 400),
        (handshake(Connection=None), 400),
        (handshake(Connection="close"), 400),
        (handshake(Sec_WebSocket_Key=None), 400),
        (handshake(Sec_WebSocket_Key="AAAA"), 400),
        (handshake("/open/1", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
        (handshake(Sec_WebSocket_Protocol="a,,b"), 400),
        (handshake(Content_Length="0"), 400),
        (handshake(Content_Length=str(len(HIDDEN))), 400),
        (handshake(Transfer_Encoding="chunked"), 400),
        (handshake(Content_Length="5", Transfer_Encoding="chunked"), 400),
        (handshake("/open/1", "Upgrade : websocket"), 400),
        (handshake("/open/1", "Connection: Upgrade", Connection=None).replace(b"GET", b"get"), 400),
    ],
)
async def test_nothing_behind_a_handshake_that_fails_is_read(
    sockets: Sockets, sent: bytes, status: int
) -> None:
    sockets.chat.use(_plainly)
    got = await exchange(sockets.url, sent + HIDDEN)
    assert got.startswith(b"HTTP/1.1 %d " % status), got
    assert got.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in got
    assert sockets.chat.requests == []


async def test_bytes_sent_ahead_arrive_after_the_101_and_not_before(sockets: Sockets) -> None:
    heard: list[bytes] = []

    async def patiently(received: Received, writer: asyncio.StreamWriter) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(received.reader.read(1), 0.15)
        writer.write(switching(received))
        heard.append(await received.reader.readexactly(len(ahead)))
        writer.write(frame(b"done"))

    ahead = frame(b"x" * 100_000, masked=True) + HIDDEN
    sockets.chat.use(patiently)
    async with client(sockets, handshake() + ahead) as one:
        assert one.status == 101
        assert await one.hear() == (2, b"done")
    assert heard == [ahead]
    assert len(sockets.chat.requests) == 1


async def test_after_the_101_nothing_is_a_request_any_more(sockets: Sockets) -> None:
    heard: list[bytes] = []

    async def listen(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received))
        heard.append(await received.reader.readexactly(len(HIDDEN)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    sockets.chat.use(listen)
    async with client(sockets, handshake()) as one:
        one.writer.write(HIDDEN)
        assert await one.rest() == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    assert heard == [HIDDEN]
    assert len(sockets.chat.requests) == 1


# What services answer.


async def _plainly(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, b"plain"))
    await writer.drain()


@pytest.mark.parametrize(
    "said",
    [
        {"Sec_WebSocket_Accept": "dGhlIHNhbXBsZSBub25jZQ=="},
        {"Sec_WebSocket_Accept": None},
        {"Upgrade": "h2c"},
        {"Upgrade": None},
        {"Connection": "keep-alive"},
        {"Connection": None, "Upgrade": None},
        {"Sec_WebSocket_Extensions": "permessage-deflate"},
        {"Sec_WebSocket_Protocol": "c"},
        {"Content_Length": "5"},
        {"Transfer_Encoding": "chunked"},
    ],
)
async def test_a_wrong_101_is_502(sockets: Sockets, said: dict[str, str | None]) -> None:
    ended = asyncio.Event()

    async def wrongly(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received, **said) + frame(b"too early"))
        assert await received.reader.read() == b""
        ended.set()

    sockets.chat.use(wrongly)
    got = await exchange(
        sockets.url, handshake(Sec_WebSocket_Protocol="a") + frame(b"ahead", masked=True)
    )
    assert got.startswith(b"HTTP/1.1 502 ")
    assert b"too early" not in got
    await asyncio.wait_for(ended.wait(), 2)
    assert await sockets.open_count() == 0


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 101 Switching Protocols\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: x\r\n",
        b"HTTP/1.1 199 Well\r\n",
    ],
)
async def test_what_is_no_101_is_none(sockets: Sockets, head: bytes) -> None:
    async def wrongly(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head + switching(received).partition(b"\r\n")[2])

    sockets.chat.use(wrongly)
    assert (await exchange(sockets.url, handshake())).startswith(b"HTTP/1.1 502 ")


async def test_a_refusal_is_an_ordinary_answer_and_the_last_one(sockets: Sockets) -> None:
    async def refuse(_received: Received, writer: asyncio.StreamWriter) -> None:
        more = {"Retry-After": "7", "Upgrade": "x", "X-Why": "full"}
        writer.write(answer(403, b'{"no":1}', headers=more))
        await writer.drain()

    sockets.chat.use(refuse)
    got = await exchange(sockets.url, handshake() + HIDDEN)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    for line in (b"retry-after: 7", b"x-why: full", b"connection: close"):
        assert b"\r\n" + line in head
    assert b"\r\nupgrade:" not in head
    assert body == b'{"no":1}'
    assert len(sockets.chat.requests) == 1


async def test_a_service_that_does_not_answer_is_504(sockets: Sockets) -> None:
    async def silence(received: Received, _writer: asyncio.StreamWriter) -> None:
        assert await received.reader.read() == b""

    sockets.chat.use(silence)
    assert (await exchange(sockets.url, handshake("/quick"))).startswith(b"HTTP/1.1 504 ")


async def test_a_client_that_leaves_before_the_101_leaves_nothing(sockets: Sockets) -> None:
    begun = asyncio.Event()

    async def silence(received: Received, _writer: asyncio.StreamWriter) -> None:
        begun.set()
        assert await received.reader.read() == b""

    sockets.chat.use(silence)
    _, writer = await asyncio.open_connection("127.0.0.1", sockets.port)
    writer.write(handshake())
    await asyncio.wait_for(begun.wait(), 2)
    writer.transport.abort()
    await asyncio.wait_for(sockets.chat.ended.wait(), 2)


async def test_a_connection_that_was_a_websocket_carries_no_further_request(
    sockets: Sockets,
) -> None:
    async def early(received: Received, writer: asyncio.StreamWriter) -> None:
        if received.path != "/plain":
            writer.write(switching(received))
            await read_frame(received.reader)
            # Were it kept, this would be the beginning of the next answer.
            writer.write(frame(b"bye", CLOSE) + answer(200, b"poison"))
            await received.reader.read()
        else:
            await _plainly(received, writer)

    sockets.chat.use(early)
    async with client(sockets, handshake()) as one:
        await one.say(b"bye", CLOSE)
        await one.hear()
    await until(sockets.all_closed, 15)
    assert (await sockets.http.get("/plain")).text == "plain"


async def test_handshakes_are_counted_when_they_end_and_sockets_while_they_are_open(
    sockets: Sockets,
) -> None:
    counted = 'http_requests_total{method="GET",route="/open/{id}",service="gateway",status="101"}'
    before = await sockets.metric(counted)
    async with client(sockets, handshake()) as one:
        assert one.status == 101
        assert await sockets.metric(counted) == before + 1
        assert await sockets.open_count() == 1
    await until(sockets.all_closed, 15)
    assert await sockets.metric(counted) == before + 1
