"""Transactions over one Bolt driver: bounded in time, tried again where that is right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from shared.data_access.graph.bolt_driver import (
    AsyncDriver,
    AsyncGraphDatabase,
    AsyncManagedTransaction,
    AsyncSession,
    NotificationMinimumSeverity,
    exceptions,
)
from shared.data_access.graph.bolt_errors import (
    ALREADY_THERE,
    BOLT,
    DRIVER_ERRORS,
    describe,
    is_answer,
)
from shared.data_access.graph.upsert import run
from shared.data_access.guard import Guard
from shared.errors import StoreConflict

READ_SECONDS: Final = 2.0
WRITE_SECONDS: Final = 30.0
_TRIES: Final = 8
_ONE: Final = "RETURN 1 AS one"
_Result = TypeVar("_Result")
_Work = Callable[[AsyncManagedTransaction], Awaitable[Any]]


class BoltSessions:
    """One driver with a bounded pool; connects at the first call."""

    def __init__(self, url: str, pool_size: int) -> None:
        self._url = url
        self._pool_size = pool_size
        self._database = urlsplit(url).path.strip("/") or None
        self._driver: AsyncDriver | None = None
        self._asking: asyncio.Task[bool | str] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self.guard = Guard(BOLT, self._probe, namespace=self._database or "")

    async def read(
        self, query: str, seconds: float = READ_SECONDS, /, **parameters: Any
    ) -> list[dict[str, Any]]:
        """The rows of a query that changes nothing."""
        async with self._session(seconds, query) as session:
            return await session.execute_read(run, query, parameters)

    async def write(self, work: _Work, what: str, label: str = "") -> Any:
        """Run in a write transaction, again after a conflict: it then finds what the other made.

        `what` it does, as an operation's name or a statement, to nodes or edges of `label`.
        """
        for attempt in range(1, _TRIES):
            try:
                async with self._session(WRITE_SECONDS, what, label) as session:
                    return await session.execute_write(work)
            except StoreConflict:
                await _pause(attempt)
        async with self._session(WRITE_SECONDS, what, label) as session:
            return await session.execute_write(work)

    async def write_query(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await self.write(lambda tx: run(tx, query, parameters), query)
        return rows

    async def run_alone(self, query: str) -> None:
        """Run a statement that makes its own transaction, such as one that changes the schema.

        The driver never tries these again, even where the server asks for it: of processes that
        create constraints at once all but one end in a deadlock. So the statement has to be one
        that may run twice; that what it makes is there already is success.
        """
        async with self.guard.call(WRITE_SECONDS, query):
            for attempt in count(1):
                try:
                    await self._run_alone(query)
                except (exceptions.Neo4jError, exceptions.DriverError) as error:
                    if not _again(error, attempt):
                        raise
                    await _pause(attempt)
                else:
                    return

    async def ping(self) -> None:
        await self.guard.ask()
        await self.read(_ONE)

    async def close(self) -> None:
        await self.guard.close()
        for task in (self._asking, self._connecting):
            if task is not None:
                await asyncio.wait((task,))
        self._connecting = None
        driver, self._driver = self._driver, None
        if driver is not None:
            with suppress(*DRIVER_ERRORS, OSError):
                await driver.close()

    async def _run_alone(self, query: str) -> None:
        async with (await self._connected()).session(database=self._database) as session:
            try:
                await (await session.run(query)).consume()
            except exceptions.ClientError as error:
                if error.code not in ALREADY_THERE:
                    raise

    @asynccontextmanager
    async def _session(
        self, seconds: float, what: str, label: str = ""
    ) -> AsyncIterator[AsyncSession]:
        async with (
            self.guard.call(seconds, what, label),
            (await self._connected()).session(database=self._database) as session,
        ):
            yield session

    async def _connected(self) -> AsyncDriver:
        """The driver, which has made its first connection.

        That isn't cancelled with the call that needs it: the driver would leave open what it is
        connecting, and a process that stops while it starts does so to every call under way.
        """
        if self._driver is None:
            self._driver = _driver(self._url, self._pool_size)
        if self._connecting is None or _failed(self._connecting):
            self._connecting = _unheard(self._connect(self._driver), "graph connection")
        await asyncio.shield(self._connecting)
        return self._driver

    async def _connect(self, driver: AsyncDriver) -> None:
        async with asyncio.timeout(READ_SECONDS):
            await driver.verify_connectivity()

    async def _probe(self) -> bool | str:
        """Not cancelled while it runs, as little as the first connection."""
        self._asking = asking = _unheard(self._ask(), "graph probe")
        return await asyncio.shield(asking)

    async def _ask(self) -> bool | str:
        """Over a driver of its own: the pool may be full of queries that take long."""
        async with (
            asyncio.timeout(READ_SECONDS),
            _driver(self._url, 1) as driver,
            driver.session(database=self._database) as session,
        ):
            try:
                await (await session.run(_ONE)).consume()
            except exceptions.GqlError as error:
                return is_answer(error) and describe(error)
            return True


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _unheard(work: Coroutine[Any, Any, _Result], name: str) -> asyncio.Task[_Result]:
    """A task whose error is no news where all who waited for it have gone."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _again(error: exceptions.Neo4jError | exceptions.DriverError, attempt: int) -> bool:
    """Whether to try again: when the server asks for it, or once for a connection that was lost."""
    tries = _TRIES if isinstance(error, exceptions.Neo4jError) else 2
    return error.is_retryable() and attempt < tries


async def _pause(attempt: int) -> None:
    # Chance parts those who failed together.
    await asyncio.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))  # noqa: S311 - jitter


def _driver(url: str, pool_size: int) -> AsyncDriver:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    user = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return AsyncGraphDatabase.driver(
        f"{parts.scheme}://{host}:{parts.port or 7687}",
        auth=user,
        max_connection_pool_size=pool_size,
        # Less than any call may take: what is cancelled while it connects, the driver leaves open.
        connection_timeout=1.5,
        connection_acquisition_timeout=1.8,
        # A lost connection or a deadlock is tried again within these; a server that is down isn't
        # waited for.
        max_transaction_retry_time=1.0,
        initial_retry_delay=0.05,
        liveness_check_timeout=5.0,
        # A label that no node has yet is worth a warning to Neo4j, not to us.
        notifications_min_severity=NotificationMinimumSeverity.OFF,
        telemetry_disabled=True,
    )
