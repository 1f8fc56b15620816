"""What a hostile organisation sends while its neighbour works: all that it can, for a while."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from tests.chaos.site import Site

_IN_FLIGHT = 24
_PER_SECOND = 80.0
_SLOW_SOCKETS = 20
_INSIDE = (200, 201, 400, 413, 422)  # by the service, or for what is in the body
_GOOD = {"callid": "h", "user_id": "h", "started_at": "2025-01-01T00:00:00Z", "call_status": "busy"}


@dataclass(frozen=True, slots=True)
class _Sent:
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def _get(path: str, **headers: str) -> _Sent:
    return _Sent("GET", path, headers=headers)


def _post(path: str, body: bytes, **headers: str) -> _Sent:
    return _Sent("POST", path, body, {"Content-Type": "application/json", **headers})


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


def _requests() -> list[_Sent]:
    """Odd bodies and paths, forged credentials, and honest heavy work."""
    calls, me, compute = "/api/v1/calls", "/api/v1/auth/me", "/api/v1/admin/compute"
    many = [_GOOD | {"callid": f"h{number}"} for number in range(300)]
    return [
        *(_post(calls, body) for body in _ODD_BODIES),
        *(_get(path) for path in _ODD_PATHS),
        _post(calls, b"{}", Authorization="Bearer a.b.c"),
        _post(calls, b"{}", Authorization="Bearer " + "x" * 7000),
        _get(me, **{"X-Internal-Token": "forged"}),
        _get(me, **{"X-Deadline-Ms": "1"}),
        _get(me, **{"X-Deadline-Ms": "9" * 20}),
        _post("/api/v1/auth/login", b'{"email": "a@b.c", "password": "wrong wrong wrong"}'),
        _post(compute, b"{}"),
        _post(compute, b'{"period_type": "week", "from": "0001-01-01"}'),
        _post(calls, json.dumps({"records": many}).encode()),
    ]


async def attack(site: Site, seconds: float) -> float:
    """Send all of it, over and over, as `south`; 0.0, since nobody else is to notice anything.

    An attack that is turned away at the door would prove nothing: most odd bodies must get inside.
    """
    bodies: Counter[int] = Counter()  # answers to them
    deadline = time.monotonic() + seconds
    async with site.requests("south") as client, _slow_bodies(site):
        slots = asyncio.Semaphore(_IN_FLIGHT)
        async with asyncio.TaskGroup() as group:
            for request in itertools.cycle(_requests()):
                if time.monotonic() > deadline:
                    break
                await slots.acquire()
                group.create_task(_send(client, request, slots.release, bodies))
                await asyncio.sleep(1.0 / _PER_SECOND)
    inside = sum(count for status, count in bodies.items() if status in _INSIDE)
    assert 2 * inside > bodies.total() > 0, f"odd bodies were answered {dict(bodies)}"
    return 0.0


async def _send(
    client: httpx.AsyncClient, sent: _Sent, done: Callable[[], None], bodies: Counter[int]
) -> None:
    """Other answers than those to odd bodies are of no interest: it is the neighbour who counts."""
    status = 0
    try:
        with contextlib.suppress(httpx.TransportError):
            answer = await client.request(
                sent.method, sent.path, content=sent.body, headers=sent.headers
            )
            status = answer.status_code
        if sent.body in _ODD_BODIES and sent.method == "POST":
            bodies[status] += 1
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
            await writer.drain()
            await asyncio.sleep(0.2)
            if number % 4 == 0:
                break
    finally:
        writer.transport.abort()
