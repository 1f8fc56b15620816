"""Who webhooks lead to: a real HTTP server on loopback that checks signatures by the specification."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[int], bytes]  # the count of the request → the bytes of an answer


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As https://www.standardwebhooks.com tells receivers to: nothing of ours is asked."""
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = (
        headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    )
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    found = [one.split(",", 1) for one in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(mac, expected) for version, mac in found)


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """`says` makes the answers; while `held` is clear none is given."""

    says: Answer = lambda _: answer(204)
    requests: list[Request] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    now: int = 0  # requests that wait for their answer
    most: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *rest = head.rstrip().split("\r\n")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in rest)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append(Request(first.split(" ")[1], headers, body))
            count = len(self.requests)
            await self.held.wait()
            writer.write(self.says(count))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever asked has gone
        finally:
            self.now -= 1
            writer.close()


@asynccontextmanager
async def receiving(says: Answer = lambda _: answer(204)) -> AsyncIterator[Receiver]:
    receiver = Receiver(says)
    receiver.held.set()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.held.set()
        server.close()
