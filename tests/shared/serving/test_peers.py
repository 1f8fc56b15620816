"""One service asks another over real sockets, found through a real registry."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from pydantic import BaseModel

from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.errors import (
    Detail,
    Forbidden,
    InvalidInput,
    NotFound,
    StoreUnavailable,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from shared.security import InternalTokens, Principal
from shared.serving.peers import Peers, Readiness, ask_ready, open_peers
from shared.serving.registry import Instance, announce
from shared.serving.service import BaseAIService, Call, Endpoint

SECRET = b"s" * 64
ANALYST = Principal(UUID(int=1), "user:1", "analyst", "user")
AGENT = Principal(UUID(int=1), "user:2", "agent", "user")


class Question(BaseModel):
    text: str


class Reply(BaseModel):
    text: str
    by: str


async def echo(call: Call[None]) -> Reply:
    match call.body.text:
        case "missing":
            raise NotFound("There is no such thing.")
        case "wrong":
            raise InvalidInput("text: wrong", details=[Detail("text", "wrong", "right")])
        case "slow":
            await asyncio.sleep(1)
        case "odd":
            return {"something": "else"}  # type: ignore[return-value]  # a broken promise
    return Reply(text=call.body.text, by=call.principal.subject)


async def nothing(_service: BaseAIService[None], _stack: AsyncExitStack) -> None:
    return None


@pytest.fixture
async def peers(redis_url: str, tmp_path: Path) -> AsyncIterator[Peers]:
    config = Config.from_env(
        {"LOOMA_HOME": str(tmp_path), "INTERNAL_TOKEN_SECRET": SECRET.decode()}
    )
    endpoint = Endpoint("POST", "/api/v1/echo", echo, "calls:search", "Echo", body=Question)
    service = BaseAIService("portrait", config, endpoints=[endpoint], open_state=nothing)
    cache = RedisCache(redis_url)
    async with service.running(port=0) as url, open_peers(cache, InternalTokens(SECRET)) as opened:
        # One of the two is a process that died without a word.
        dead = Instance("portrait", "http://127.0.0.1:9", "dead")
        await cache.set(
            dead.key, b'{"service":"portrait","url":"http://127.0.0.1:9","id":"dead"}', ttl=30
        )
        heartbeat = asyncio.create_task(announce(cache, "portrait", url))
        await asyncio.sleep(0.1)
        yield opened
        heartbeat.cancel()
        await asyncio.gather(heartbeat, return_exceptions=True)
        await cache.delete(dead.key)
    await cache.close()


async def ask(peers: Peers, text: str, principal: Principal = ANALYST, **options: float) -> Reply:
    return await peers.ask(
        "portrait", "POST", "/api/v1/echo", principal, answer=Reply, body=Question(text=text), **options
    )  # fmt: skip


async def test_an_answer_is_typed_and_speaks_to_the_caller(peers: Peers) -> None:
    for _ in range(8):  # whichever instance is tried first
        assert await ask(peers, "你好") == Reply(text="你好", by="user:1")


async def test_errors_arrive_as_they_were_raised(peers: Peers) -> None:
    with pytest.raises(NotFound, match="no such thing"):
        await ask(peers, "missing")
    with pytest.raises(InvalidInput) as caught:
        await ask(peers, "wrong")
    assert caught.value.details == (Detail("text", "wrong", "right"),)
    with pytest.raises(Forbidden):
        await ask(peers, "x", AGENT)


async def test_an_answer_that_breaks_its_promise_is_an_upstream_error(peers: Peers) -> None:
    with pytest.raises(UpstreamError, match="not what it promised"):
        await ask(peers, "odd")


async def test_a_late_answer_is_a_timeout(peers: Peers) -> None:
    with pytest.raises(UpstreamTimeout):
        await ask(peers, "slow", timeout=0.2)


async def test_nobody_there_is_unavailable(peers: Peers) -> None:
    with pytest.raises(UpstreamUnavailable, match="explain"):
        await peers.ask("explain", "GET", "/", ANALYST, answer=Reply)


@pytest.mark.parametrize(
    ("checks", "ready", "wrong"),
    [
        ({}, True, ()),
        ({"postgres": "up"}, True, ()),
        ({"postgres": "away", "redis": "up"}, False, ("postgres: away",)),
    ],
)
async def test_whether_a_process_is_ready_is_asked_of_its_page(
    tmp_path: Path, checks: dict[str, str], ready: bool, wrong: tuple[str, ...]
) -> None:
    async def ping(said: str) -> None:
        if said != "up":
            raise StoreUnavailable(said)

    config = Config.from_env({"LOOMA_HOME": str(tmp_path)})
    service = BaseAIService("portrait", config, endpoints=[], open_state=nothing)
    for name, said in checks.items():
        service.check(name, partial(ping, said))
    async with service.running(port=0) as url, httpx.AsyncClient() as client:
        assert await ask_ready(client, url) == Readiness(ready, wrong)
        service.notice("search", lambda: "slow")
        assert await ask_ready(client, url) == Readiness(ready, (*wrong, "search: slow"))


@pytest.mark.parametrize(
    "page",
    [b"", b"[]", b"{}", b'{"checks": null}', b"<html>", b" " * (1 << 20)],
)
async def test_what_is_no_page_of_a_process_is_not_ready(page: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + page)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, httpx.AsyncClient() as client:
        found = await ask_ready(client, url)
        assert (found.ready, "answers 200, and not" in found.wrong[0]) == (False, True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "no address", "http://", "ftp://a", "http://[x"]
)
async def test_where_nobody_answers_nobody_is_ready(url: str) -> None:
    async with httpx.AsyncClient() as client:
        assert await ask_ready(client, url) == Readiness(False, ("does not answer",))
