"""Work that runs beside the requests, started again when it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from shared.errors import StoreUnavailable, UpstreamError

_FIRST_S: Final = 0.5
# Between two cancellations of what goes on: longer than any store is waited for while cleaning up.
_AGAIN_S: Final = 3.0
_LONGEST_S: Final = 30.0
log = structlog.get_logger()


@asynccontextmanager
async def running_beside(work: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run each piece of `work` (by name) inside the block; cancel them at its end.

    What fails is logged and started again after 0.5 s, then later each time, up to 30 s; what
    returns is over.
    """
    tasks = [
        asyncio.create_task(_keep_running(name, function), name=name)
        for name, function in work.items()
    ]
    try:
        yield
    finally:
        await end(tasks)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended; what they raise stays in them.

    One cancellation is not enough for a loop: `asyncio.wait_for` of Python 3.11 swallows it when
    its own work ends at that moment (gh-86296), and the Redis client sends each command in one.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_S)


async def _keep_running(name: str, function: Callable[[], Awaitable[None]]) -> None:
    delay = _FIRST_S
    while True:
        started = time.monotonic()
        try:
            await function()
            return
        except (StoreUnavailable, UpstreamError) as error:
            log.warning("background work waits", work=name, reason=error.message)
        except Exception:  # one piece of work must not end the process; it is logged
            log.exception("background work failed and is started again", work=name)
        if time.monotonic() - started > _LONGEST_S:
            delay = _FIRST_S
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LONGEST_S)
