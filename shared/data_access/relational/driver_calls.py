"""One call of the driver within the guard's bounds, its errors translated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg

from shared.data_access.errors import NETWORK_ERRORS
from shared.data_access.guard import Guard
from shared.data_access.relational.postgres_errors import DRIVER_ERRORS, POSTGRES
from shared.errors import StoreError, StoreUnavailable

Proxy = asyncpg.pool.PoolConnectionProxy
T = TypeVar("T")
_LOOK_S: Final = 0.25


@asynccontextmanager
async def driver_call(
    connection: Proxy,
    guard: Guard,
    seconds: float,
    what: str,
    collection: str = "",
    *,
    readonly: bool,
) -> AsyncIterator[None]:
    """Around a call on `connection` of at most `seconds`; `what` and `collection` as for the guard's.

    `readonly` says that no rows may be written: where they may, it is the server that is a standby.
    """
    async with guard.call(seconds, what, collection):
        try:
            yield
        except (*DRIVER_ERRORS, *NETWORK_ERRORS) as error:
            # The driver names a lost connection in several ways, one of them its catch-all.
            lost = is_lost(connection)
            ours = readonly and isinstance(error, asyncpg.ReadOnlySQLTransactionError)
            kind = StoreUnavailable if lost else StoreError if ours else None
            raise POSTGRES.error(error, kind) from error
        except RuntimeError as error:
            # What uvloop raises for a COPY that writes on to a connection that has just been lost.
            if not is_lost(connection):
                raise
            raise POSTGRES.error(error, StoreUnavailable) from error


async def while_connected(connection: Proxy, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; ConnectionDoesNotExistError soon after the connection is lost.

    The driver waits for room to write even on a connection that is gone, as long as it is let.
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=_LOOK_S))[0]:
            if is_lost(connection):
                raise asyncpg.ConnectionDoesNotExistError("the connection was lost while writing")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def is_lost(connection: Proxy) -> bool:
    """Whether the connection is gone; the pool takes its stand-in away when it notices first."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True
