"""Open WebSockets: what passes, what waits, and that every end of one is the end of all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import psutil
import pytest

from gateway.auth.revocations import CHANNEL
from gateway.timeouts import Timeouts
from shared.data_access.cache.redis import RedisCache
from tests.gateway.sockets import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    Client,
    Sockets,
    client,
    echo_frames,
    frame,
    handshake,
    read_frame,
    sockets_in,
    switching,
)
from tests.gateway.wire import Received, until

MEGABYTE = 1_000_000
GOING_AWAY = (CLOSE, (1001).to_bytes(2))
POLICY_VIOLATION = (CLOSE, (1008).to_bytes(2))


@pytest.fixture(scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Sockets]:
    home = tmp_path_factory.mktemp("tunnels")
    times = Timeouts(recheck=0.1, stream_idle=1.0, idle=0.6, linger=0.3)
    async with sockets_in(home, times, REDIS_URL=redis_at) as platform:
        yield platform


@pytest.fixture
async def sockets(running: Sockets) -> AsyncIterator[Sockets]:
    """A hasty gateway of which no test may leave a socket or a task."""
    running.chat.use(echo_frames)
    await running.open_count()  # by a connection that stays
    before = serving_tasks()
    yield running
    await until(running.all_closed, 3)
    assert serving_tasks() <= before


def serving_tasks() -> int:
    return sum("ClientConnection._serve" in repr(one.get_coro()) for one in asyncio.all_tasks())


async def switch_and_wait(received: Received, writer: asyncio.StreamWriter) -> None:
    """Agree, and take what comes, to the end."""
    writer.write(switching(received))
    while await received.reader.read(1 << 16):
        pass


async def opened(sockets: Sockets, stack: AsyncExitStack, sent: bytes = handshake()) -> Client:
    one = await stack.enter_async_context(client(sockets, sent))
    assert one.status == 101
    return one


# What passes.


async def test_large_messages_come_back_whole(sockets: Sockets) -> None:
    async with client(sockets, handshake(), limit=1 << 21) as one:
        for number in range(1, 4):
            said = bytes([number]) * MEGABYTE
            await one.say(said)
            assert await one.hear() == (BINARY, said)


async def test_what_a_service_sends_with_its_101_comes_after_it(sockets: Sockets) -> None:
    async def eager(received: Received, writer: asyncio.StreamWriter) -> None:
        early = frame(b"a" * 200_000) + frame(b"b")
        writer.write(switching(received) + early)
        await received.reader.read()

    sockets.chat.use(eager)
    async with client(sockets, handshake()) as one:
        assert await one.hear() == (BINARY, b"a" * 200_000)
        assert await one.hear() == (BINARY, b"b")


async def test_a_service_that_says_one_thing_and_leaves_is_heard(sockets: Sockets) -> None:
    async def brief(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received) + frame(b"bye", CLOSE))

    sockets.chat.use(brief)
    for _ in range(5):
        async with client(sockets, handshake()) as one:
            assert await one.rest() == frame(b"bye", CLOSE)


async def test_the_last_words_of_a_client_arrive(sockets: Sockets) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def listen(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received))
        heard.set_result(await received.reader.read(-1))

    sockets.chat.use(listen)
    async with client(sockets, handshake()) as one:
        last = frame(b"x" * 300_000, masked=True)
        one.writer.write(last)
        one.writer.write_eof()
        assert await asyncio.wait_for(heard, 3) == last


# Back pressure.


async def test_a_slow_reader_stops_its_service(sockets: Sockets) -> None:
    sent = 0

    async def endless(received: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(switching(received))
        for _ in range(64):
            writer.write(frame(b"x" * MEGABYTE))
            await writer.drain()
            sent += 1
        await received.reader.read()

    sockets.chat.use(endless)
    process = psutil.Process()
    async with client(sockets, handshake()) as one:
        await one.hear()
        before, rss = sent, process.memory_info().rss
        await asyncio.sleep(0.3)  # what the kernels hold on both ways is taken
        assert sent < 32
        assert process.memory_info().rss - rss < 16 << 20
        for _ in range(63):
            assert (await one.hear())[1].count(b"x") == MEGABYTE
        assert sent > before


async def test_a_slow_service_stops_its_client(sockets: Sockets) -> None:
    go_on = asyncio.Event()
    frames = 48

    async def lazy(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received))
        await go_on.wait()
        for _ in range(frames):
            assert len((await read_frame(received.reader))[1]) == MEGABYTE
        writer.write(frame(b"all"))
        await received.reader.read()

    sockets.chat.use(lazy)
    async with client(sockets, handshake()) as one:
        for _ in range(frames):
            one.writer.write(frame(bytes(MEGABYTE), masked=True))
        await asyncio.sleep(0.3)
        assert one.writer.transport.get_write_buffer_size() > 16 * MEGABYTE
        go_on.set()
        assert await one.hear() == (BINARY, b"all")


async def test_a_client_that_takes_nothing_is_cut_off(sockets: Sockets) -> None:
    async def endless(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received))
        while True:
            writer.write(frame(bytes(MEGABYTE)))
            await writer.drain()

    sockets.chat.use(endless)
    async with client(sockets, handshake()) as one:
        for _ in range(100):  # its own pings don't help it
            if sockets.chat.ended.is_set():
                break
            one.writer.write(frame(b"", PING, masked=True))
            await asyncio.sleep(0.05)
        assert sockets.chat.ended.is_set()


# Ends.


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_client_that_goes_takes_its_service_s_side_with_it(
    sockets: Sockets, rudely: bool
) -> None:
    sockets.chat.use(switch_and_wait)
    async with client(sockets, handshake()) as one:
        await one.say(b"half")
        started = time.monotonic()
        if rudely:
            one.writer.transport.abort()
        else:
            one.writer.write_eof()
        await asyncio.wait_for(sockets.chat.ended.wait(), 2)
        assert time.monotonic() - started < 0.3


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("said", [b"", frame(b"whole"), frame(b"half")[:-2]])
async def test_a_service_that_goes_takes_its_client_s_side_with_it(
    sockets: Sockets, said: bytes, rudely: bool
) -> None:
    async def leave(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received) + said)
        await read_frame(received.reader)
        if rudely:
            writer.transport.abort()

    sockets.chat.use(leave)
    async with client(sockets, handshake()) as one:
        await one.say(b"go")
        assert await one.rest(1) == said


async def test_a_service_that_goes_on_after_its_client_left_is_left(sockets: Sockets) -> None:
    async def chatty(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received))
        while not writer.transport.is_closing():
            writer.write(frame(b"x" * 1000))
            await asyncio.sleep(0.005)

    sockets.chat.use(chatty)
    async with client(sockets, handshake()) as one:
        await one.hear()
        one.writer.write_eof()
        await asyncio.wait_for(sockets.chat.ended.wait(), 2)


async def test_silence_ends_it_and_a_ping_is_none(sockets: Sockets) -> None:
    async with client(sockets, handshake()) as one:
        for _ in range(6):
            await one.say(b"", PING)
            assert await one.hear() == (PONG, b"")
            await asyncio.sleep(0.25)
        started = time.monotonic()
        assert await one.hear() == GOING_AWAY
        assert 0.5 < time.monotonic() - started < 2
        assert await one.rest() == b""


# The caller's right.


def token_lines(token: str) -> bytes:
    return handshake("/talk/1", f"Authorization: Bearer {token}")


async def test_a_session_that_ends_takes_its_sockets_with_it(
    sockets: Sockets, redis_at: str
) -> None:
    cache = RedisCache(redis_at)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(cache.close)
        mine = await opened(sockets, stack, token_lines(sockets.auth.token(sid="mine-1")))
        other = await opened(sockets, stack, token_lines(sockets.auth.token(sid="other-1")))
        await cache.publish(CHANNEL, orjson.dumps(sockets.auth.revoke("session:mine-1")).decode())
        assert await mine.hear(2) == POLICY_VIOLATION
        assert await mine.rest() == b""
        await other.say(b"still here")
        assert await other.hear() == (BINARY, b"still here")


async def test_a_token_that_ends_takes_its_sockets_with_it(sockets: Sockets) -> None:
    """After the leeway that its requests have, too."""
    token = sockets.auth.token(exp=time.time() - 29.3)
    async with client(sockets, token_lines(token)) as one:
        assert one.status == 101
        assert await one.hear() == POLICY_VIOLATION


async def test_an_outage_of_the_auth_service_ends_nothing(sockets: Sockets) -> None:
    key = sockets.auth.new_key()
    async with client(sockets, handshake("/talk/1", f"X-API-Key: {key}")) as one:
        sockets.auth.failing = True
        try:
            await asyncio.sleep(0.3)
            await one.say(b"still here")
            assert await one.hear() == (BINARY, b"still here")
        finally:
            sockets.auth.failing = False


async def test_no_frame_is_put_into_another(sockets: Sockets) -> None:
    """A socket that has to end in the middle of a frame ends without a word."""
    half = frame(bytes(1000))[:500]

    async def stop_short(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received) + half)
        await received.reader.read()

    sockets.chat.use(stop_short)
    async with client(sockets, handshake()) as one:
        assert await one.rest() == half


# The server's stop.


async def test_a_stop_says_so_and_is_soon_done(tmp_path: Path, redis_at: str) -> None:
    async with AsyncExitStack() as stack:
        async with sockets_in(tmp_path, REDIS_URL=redis_at) as platform:
            ones = [await opened(platform, stack) for _ in range(3)]
            await ones[0].say(b"last")
            assert await ones[0].hear() == (BINARY, b"last")
            heard = [asyncio.create_task(_until_closed(one)) for one in ones]
            started = time.monotonic()
        assert time.monotonic() - started < 1
        assert [await one for one in heard] == [frame((1001).to_bytes(2), CLOSE)] * 3


async def _until_closed(one: Client) -> bytes:
    """As clients do: read up to the end, answer a Close, close."""
    said = await one.rest()
    one.writer.close()
    return said


async def test_a_stop_waits_for_the_end_of_a_frame(tmp_path: Path, redis_at: str) -> None:
    go_on = asyncio.Event()
    whole = frame(b"x" * 1000)

    async def pause(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received) + whole[:500])
        await go_on.wait()
        writer.write(whole[500:] + whole[:10])
        await received.reader.read()

    async with AsyncExitStack() as stack:
        async with sockets_in(tmp_path, REDIS_URL=redis_at) as platform:
            platform.chat.use(pause)
            one = await opened(platform, stack)
            assert await one.reader.readexactly(500) == whole[:500]
            heard = asyncio.create_task(_until_closed(one))
            asyncio.get_running_loop().call_later(0.1, go_on.set)
        assert await heard == whole[500:] + frame((1001).to_bytes(2), CLOSE)


async def test_a_stop_cuts_off_who_does_not_listen(tmp_path: Path, redis_at: str) -> None:
    async def endless(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(received) + frame(bytes(64 * MEGABYTE)))
        await received.reader.read()

    async with AsyncExitStack() as stack:
        async with sockets_in(tmp_path, SHUTDOWN_SECONDS="0.5", REDIS_URL=redis_at) as platform:
            platform.chat.use(endless)
            await opened(platform, stack)
            started = time.monotonic()
        assert time.monotonic() - started < 2


# Many.


async def test_500_quiet_sockets_disturb_nobody(tmp_path: Path, redis_at: str) -> None:
    size = 500
    async with sockets_in(tmp_path, REDIS_URL=redis_at) as platform:
        process = psutil.Process()
        async with AsyncExitStack() as stack:
            before = process.memory_info().rss
            ones = [await opened(platform, stack) for _ in range(size)]
            assert await platform.open_count() == size
            grown = (process.memory_info().rss - before) / size
            assert grown < 100_000, f"{grown:.0f} bytes for a socket, all four ends"
            started = time.monotonic()
            for one in ones[::50]:
                await one.say(b"hi")
                assert await one.hear() == (BINARY, b"hi")
            assert time.monotonic() - started < 1
        await until(platform.all_closed, 5)
