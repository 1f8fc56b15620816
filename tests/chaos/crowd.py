"""Many clients that meet a fault and all come back as soon as they were told to."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

from tests.chaos.site import Site

_PATHS = ("/api/v1/calls?user_id=first", "/api/v1/auth/me", "/api/v1/portrait/summary")
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)\r\n", re.IGNORECASE)
_WAITS_S = 30.0
_ANSWERED_WITHIN_S = 120.0


async def crowd(site: Site, clients: int, fault: Callable[[Site], Awaitable[float]]) -> float:
    """The fault's own length, which is that without the crowd.

    Each client repeats its request until it is answered. They obey Retry-After, so most of them
    return within the same second.
    """
    async with asyncio.TaskGroup() as group:
        struck = group.create_task(fault(site))
        await asyncio.sleep(0.3)
        for number in range(clients):
            group.create_task(_until_answered(site, _PATHS[number % len(_PATHS)]))
    return struck.result()


async def _until_answered(site: Site, path: str) -> None:
    deadline = time.monotonic() + _ANSWERED_WITHIN_S
    while True:
        wait, said = await _ask(site, path)
        if wait is None:
            return
        assert time.monotonic() < deadline, f"{path}: still {said} after {_ANSWERED_WITHIN_S:g} s"
        await asyncio.sleep(wait)


async def _ask(site: Site, path: str) -> tuple[float | None, str]:
    """(seconds after which to ask again; None for a success, what was answered). By hand, since a client that is kind to
    its user would cost more than what is measured.
    """
    try:
        async with asyncio.timeout(_WAITS_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
                f"Authorization: Bearer {site.tokens['north']}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = await reader.read()
            writer.close()
    except OSError as error:
        return 1.0, type(error).__name__
    status = _STATUS.match(answer)
    if status is not None and status[1] == b"200":
        return None, "200"
    told = _RETRY_AFTER.search(answer)
    said = answer.partition(b"\r\n")[0].decode("latin-1") or "nothing"
    return (float(told[1]) if told else 1.0), said
