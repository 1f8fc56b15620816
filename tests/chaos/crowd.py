"""Many clients that meet a fault and all come back as soon as they were told to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from tests.chaos.site import Site

_PATHS = ("/api/v1/calls?user_id=first", "/api/v1/auth/me", "/api/v1/portrait/summary")
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)\r\n", re.IGNORECASE)
_WAITS_S = 30.0


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
    while True:
        wait = await _ask(site, path)
        if wait is None:
            return
        await asyncio.sleep(wait)


async def _ask(site: Site, path: str) -> float | None:
    """Seconds after which to ask again; None for a success. By hand, since a client that is kind to
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
    except OSError:
        return 1.0
    status = _STATUS.match(answer)
    if status is not None and status[1] == b"200":
        return None
    told = _RETRY_AFTER.search(answer)
    return float(told[1]) if told else 1.0
