"""What a hostile organisation sends while its neighbour works: all that it can, for a while."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

import httpx

from tests.chaos.site import Site

_IN_FLIGHT = 24
_PER_SECOND = 80.0
_SLOW_SOCKETS = 20
_GOOD = {"callid": "h", "user_id": "h", "started_at": "2025-01-01T00:00:00Z", "call_status": "busy"}


def _post(body: bytes | str, **headers: str) -> httpx.Request:
    return httpx.Request(
        "POST",
        "/api/v1/calls",
        content=body,
        headers={"Content-Type": "application/json", **headers},
    )


def _record(**changes: object) -> bytes:
    return json.dumps({"records": [_GOOD | changes]}).encode()


_ODD_BODIES = (
    _record(duration_ms=2**64),
    _record(rounds=-(2**200)),
    _record(**{"a\u0001b": 1}),
    _record(**{"line\nbreak": 1, "nul\0": 2}),
    _record(callid="\ud800half"),
    _record(callid="nul\0in", user_id="\x7f"),
    _record(started_at="9999-12-31T23:59:59-12:00"),
    _record(started_at="0001-01-01T00:00:00+14:00"),
    _record(turns=[{"role": "customer", "at_ms": 2**70, "text": "\0"}]),
    _record(turns=[{"role": "customer", "text": "x" * 500_000}]),
    b'{"records": [{"duration_ms": 1e400}]}',
    b'{"records": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"records": [' + b"1," * 50_000 + b"1]}",
    b"\xff\xfe{}",
    b"{" * 10_000,
    b"",
)
_ODD_PATHS = (
    "/api/v1/calls?user_id=h&from=9999-12-31T23:59:59-12:00",
    "/api/v1/calls?user_id=h&to=0001-01-01T00:00:00%2B14:00",
    "/api/v1/calls?user_id=h&cursor=%00%01",
    "/api/v1/calls?user_id=h&limit=99999999999999999999",
    "/api/v1/calls?user_id=" + quote("\0 ' OR 1=1 --"),
    "/api/v1/calls/" + "x" * 4000,
    "/api/v1/calls/%00",
    "/api/v1/calls/search?q=" + quote("谢谢 " * 100),
    "/api/v1/calls/search?q=" + quote('"((*:&!|<->'),
    "/api/v1/portrait/h?period_type=week&period_key=0000-W00",
    "/api/v1/portrait/trend?metric=connect_rate&limit=520",
    "/api/v1/imports?cursor=0001-01-01T00:00:00%2B14:00",
    "/api/v1/imports/not-an-id/rejects?cursor=99999999999999999999",
    "/api/v1/audit?limit=999&cursor=%ff",
    "/api/v1/nothing/here",
)


def _requests() -> list[httpx.Request]:
    """Odd bodies and paths, forged credentials, bodies too large, and honest heavy work."""
    thousand = [_GOOD | {"callid": f"h{number}"} for number in range(300)]
    return [
        *(_post(body) for body in _ODD_BODIES),
        *(httpx.Request("GET", path) for path in _ODD_PATHS),
        _post(b"{}", Authorization="Bearer a.b.c"),
        _post(b"{}", Authorization="Bearer " + "x" * 8000),
        httpx.Request("GET", "/api/v1/auth/me", headers={"X-Internal-Token": "forged"}),
        httpx.Request("GET", "/api/v1/auth/me", headers={"X-Deadline-Ms": "1"}),
        httpx.Request("GET", "/api/v1/auth/me", headers={"X-Deadline-Ms": "9" * 20}),
        httpx.Request("POST", "/api/v1/auth/login", json={"email": "a@b.c", "password": "x" * 50}),
        httpx.Request("POST", "/api/v1/admin/compute", json={}),
        httpx.Request("POST", "/api/v1/admin/compute", json={"period_type": "week", "from": "0001-01-01"}),
        _post(json.dumps({"records": thousand})),
    ]  # fmt: skip


async def attack(site: Site, seconds: float) -> float:
    """Send all of it, over and over, as `south`; 0.0, since nobody else is to notice anything."""
    deadline = time.monotonic() + seconds
    async with site.requests("south") as client, _slow_bodies(site):
        slots = asyncio.Semaphore(_IN_FLIGHT)
        async with asyncio.TaskGroup() as group:
            for request in itertools.cycle(_requests()):
                if time.monotonic() > deadline:
                    break
                await slots.acquire()
                group.create_task(_send(client, request, slots.release))
                await asyncio.sleep(1.0 / _PER_SECOND)
    return 0.0


async def _send(
    client: httpx.AsyncClient, request: httpx.Request, done: Callable[[], None]
) -> None:
    headers = client.headers | request.headers
    try:
        # The answer is of no interest: it is the neighbour who is looked at.
        with contextlib.suppress(httpx.TransportError):
            await client.request(
                request.method, str(request.url), content=request.content, headers=headers
            )
    finally:
        done()


@contextlib.asynccontextmanager
async def _slow_bodies(site: Site) -> AsyncIterator[None]:
    """Requests whose bodies come byte by byte, and some that break off."""
    tasks = [asyncio.create_task(_trickle(site, number)) for number in range(_SLOW_SOCKETS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _trickle(site: Site, number: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        head = (
            f"POST /api/v1/calls HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
            f"Authorization: Bearer {site.tokens['south']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 30000000\r\n\r\n{"
        )
        writer.write(head.encode())
        while not reader.at_eof():
            writer.write(b" ")
            await asyncio.sleep(0.2)
            if number % 4 == 0:
                break
    finally:
        writer.transport.abort()


async def stampede(site: Site, clients: int, fault: Callable[[Site], Awaitable[float]]) -> float:
    """A fault that many clients meet, each of which repeats its request until it is answered.

    They obey Retry-After, so most return in the same second; the fault's length is as without them.
    """
    async with site.requests(timeout=30.0) as client, asyncio.TaskGroup() as group:
        began = asyncio.Event()

        async def one(number: int) -> None:
            await began.wait()
            path = ("/api/v1/calls?user_id=first", "/api/v1/auth/me", "/api/v1/portrait/summary")
            while not (answer := await client.get(path[number % len(path)])).is_success:
                await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))

        for number in range(clients):
            group.create_task(one(number))
        struck = asyncio.create_task(fault(site))
        await asyncio.sleep(0.3)
        began.set()
        lasted = await struck
    return lasted
