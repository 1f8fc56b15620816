"""One process at a time starts or stops the servers of a home."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from shared.embedded.errors import EmbeddedStoreError
from shared.file_lock import FileLock

_POLL_S = 0.05
_TELL_AFTER_S = 1.0


@asynccontextmanager
async def locked(
    path: Path, *, timeout_s: float, on_wait: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Hold the lock file at `path`; the kernel frees it when the holder dies.

    `on_wait` is called once if another process has kept it for a second.
    """
    try:
        lock = FileLock.at(path)
    except OSError as error:
        raise EmbeddedStoreError(
            f"{path} cannot be opened ({error.strerror}): run looma as the user that owns "
            f"{path.parent}, or choose another home (LOOMA_HOME)"
        ) from error
    with lock:
        await _acquire(lock, path, timeout_s, on_wait)
        yield


class TogetherLocked:
    """The lock file at `path`, held together by all of this object's callers that want it at once.

    For work of which several parts may be under way in one process, but not in two.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._entry = asyncio.Lock()
        self._holders = 0
        self._held = AsyncExitStack()

    @asynccontextmanager
    async def __call__(self, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
        async with self._entry:
            if not self._holders:
                lock = locked(self._path, timeout_s=self._timeout_s, on_wait=on_wait)
                await self._held.enter_async_context(lock)
            self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                await self._held.aclose()


async def _acquire(
    lock: FileLock, path: Path, timeout_s: float, on_wait: Callable[[], None] | None
) -> None:
    began = time.monotonic()
    told = False
    while not lock.try_take():
        waited = time.monotonic() - began
        if waited > timeout_s:
            raise EmbeddedStoreError(
                f"another process has been starting or stopping the stores in {path.parent} for "
                f"{timeout_s:.0f} s: wait for it, or end it (`fuser {path}` names it) and try again"
            )
        if on_wait is not None and not told and waited > _TELL_AFTER_S:
            told = True
            on_wait()
        await asyncio.sleep(_POLL_S)
