"""What a service answers GET, HEAD and conditional requests, byte by byte on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from pydantic import BaseModel

from shared.config import Config
from shared.errors import NotFound
from shared.security import InternalTokens, Principal
from shared.serving.envelope import success
from shared.serving.service import BaseAIService, Call, Endpoint

SECRET = "s" * 64
AGENT = Principal(UUID(int=1), "user:1", "agent", "user")
PAGES = ("/health", "/ready", "/metrics", "/openapi.json")


class Item(BaseModel):
    name: str


async def item(call: Call[dict[str, str]]) -> Item:
    if call.params["id"] not in call.state:
        raise NotFound("There is no such item.")
    return Item(name=call.state[call.params["id"]])


async def touch(call: Call[dict[str, str]]) -> dict[str, str]:
    return {"touched": call.params["id"]}


ENDPOINTS = [
    Endpoint("GET", "/items/{id}", item, "calls:read", "One item", returns=Item),
    Endpoint("POST", "/items/{id}", touch, "calls:read", "Touch an item"),
]


class Served:
    def __init__(self, url: str, client: httpx.AsyncClient, items: dict[str, str]) -> None:
        self.url = url
        self.client = client
        self.items = items
        self.token = InternalTokens(SECRET.encode()).mint(AGENT, "portrait")

    async def get(self, path: str, tag: str = "") -> httpx.Response:
        headers = {"X-Internal-Token": self.token, **({"If-None-Match": tag} if tag else {})}
        return await self.client.get(path, headers=headers)

    async def raw(self, *requests: str) -> bytes:
        """All that comes back on one connection for these requests, the last of which ends it."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for number, line in enumerate(requests):
            last = "Connection: close\r\n" if number + 1 == len(requests) else ""
            writer.write(
                f"{line} HTTP/1.1\r\nHost: x\r\nX-Internal-Token: {self.token}\r\n{last}\r\n".encode()
            )
        await writer.drain()
        async with asyncio.timeout(10):
            received = await reader.read(-1)
        writer.close()
        return received


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    items = {"1": "a chair"}

    async def open_state(
        _service: BaseAIService[dict[str, str]], _stack: AsyncExitStack
    ) -> dict[str, str]:
        return items

    config = Config.from_env(
        {"LOOMA_HOME": str(tmp_path), "INTERNAL_TOKEN_SECRET": SECRET, "SHUTDOWN_SECONDS": "3"}
    )
    service = BaseAIService("portrait", config, endpoints=ENDPOINTS, open_state=open_state)
    async with service.running(port=0) as url, httpx.AsyncClient(base_url=url) as client:
        yield Served(url, client, items)


async def test_the_same_data_have_the_same_tag_whoever_asks(served: Served) -> None:
    first, again = await served.get("/items/1"), await served.get("/items/1")
    assert first.headers["etag"] == again.headers["etag"]
    assert first.json()["request_id"] != again.json()["request_id"]
    for asked in (first.headers["etag"], f'"x", {first.headers["etag"]}', "*"):
        known = await served.get("/items/1", asked)
        assert (known.status_code, known.content) == (304, b"")
        assert known.headers["etag"] == first.headers["etag"]
        assert "content-type" not in known.headers
    served.items["1"] = "a table"
    changed = await served.get("/items/1", first.headers["etag"])
    assert (changed.status_code, changed.json()["data"]) == (200, {"name": "a table"})
    assert changed.headers["etag"] != first.headers["etag"]


async def test_errors_and_other_methods_have_no_tag(served: Served) -> None:
    missing = await served.get("/items/9", "*")
    assert (missing.status_code, "etag" in missing.headers) == (404, False)
    made = await served.client.post(
        "/items/1", headers={"X-Internal-Token": served.token, "If-None-Match": "*"}
    )
    assert (made.status_code, "etag" in made.headers) == (200, False)


@pytest.mark.parametrize("path", [*PAGES, "/items/1", "/items/9", "/nowhere"])
async def test_head_is_get_without_a_body_and_keeps_the_connection(
    served: Served, path: str
) -> None:
    got = await served.get(path)
    received = await served.raw(f"HEAD {path}", f"HEAD {path}")
    first, second, rest = received.split(b"\r\n\r\n")
    assert rest == b""
    assert first.split(b"\r\n")[0] == second.split(b"\r\n")[0]
    assert first.startswith(b"HTTP/1.1 %d " % got.status_code)
    lines = {line.lower() for line in first.split(b"\r\n")}
    if path != "/metrics":  # which counts
        assert b"content-length: %d" % len(got.content) in lines
    if "etag" in got.headers:
        assert f"etag: {got.headers['etag']}".lower().encode() in lines


async def test_a_service_says_which_methods_it_takes(served: Served) -> None:
    wrong = await served.client.delete("/items/1")
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    received = await served.raw("HEAD /items/1", "DELETE /items/1")
    assert received.count(b"HTTP/1.1 ") == 2


def test_the_envelope_is_what_orjson_would_write() -> None:
    for data in (None, [], {"a": "张", "b": [1.5, None]}, Item(name="\u2028"), "x", 0):
        request_id = str(uuid4())
        plain = data.model_dump() if isinstance(data, Item) else data
        whole = {"code": 0, "data": plain, "request_id": request_id}
        assert success(data, request_id).body == orjson.dumps(whole)
