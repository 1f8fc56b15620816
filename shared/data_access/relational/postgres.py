"""The relational port over asyncpg.

A transaction costs two round trips beyond its queries' own: one to begin, step down to a role
without rights of its own and say whose rows are meant, one to commit. A function that is called
alone costs one in all. Connections go back
to the pool without the customary reset query, because everything that a transaction sets is LOCAL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import orjson

from shared.data_access.errors import NETWORK_ERRORS
from shared.data_access.guard import Guard
from shared.data_access.outbox.topics import TOPICS
from shared.data_access.ports import Call, Transaction
from shared.data_access.relational.driver_calls import is_lost
from shared.data_access.relational.fair_turns import FairTurns
from shared.data_access.relational.function_call import FunctionCall
from shared.data_access.relational.migrate import CORE, migrate
from shared.data_access.relational.postgres_errors import DRIVER_ERRORS, POSTGRES, is_answer
from shared.data_access.relational.transaction import PostgresTransaction
from shared.errors import StoreUnavailable

Proxy = asyncpg.pool.PoolConnectionProxy
_MIGRATION_SECONDS = 3600.0  # one file that writes millions of rows anew
_CAUGHT: tuple[type[BaseException], ...] = DRIVER_ERRORS + NETWORK_ERRORS


class Postgres:
    """Relational over one lazily opened pool; constructing it opens nothing.

    `acquire_timeout` bounds, in seconds, how long a caller waits for a connection, whether all are
    in use (StoreUnavailable; organisations take turns) or the server is away. `statement_timeout` and `lock_timeout` are the
    server's own limits per statement. `topics` says who listens to what is emitted.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        acquire_timeout: float = 2.0,
        statement_timeout: float = 60.0,
        lock_timeout: float = 10.0,
        application: str = "looma",
        topics: Mapping[str, Sequence[str]] = TOPICS,
    ) -> None:
        self._url = url
        self._pool_size = pool_size
        self._acquire_timeout = acquire_timeout
        self._topics = topics
        self._settings = {
            "application_name": application,
            "statement_timeout": str(round(statement_timeout * 1000)),
            "lock_timeout": str(round(lock_timeout * 1000)),
            "idle_in_transaction_session_timeout": "300000",
            "jit": "off",  # compiling costs more than our queries do
        }
        # Above the server's limit, so that it only speaks when the server is silent.
        self._command_timeout = statement_timeout + 5.0
        self.guard = Guard(POSTGRES, self._probe, namespace=urlsplit(url).path.strip("/"))
        self.turns = FairTurns(pool_size)  # at its connections
        self._pool: asyncpg.Pool | None = None
        self._closed = False
        self._ready: set[str] = set()
        self._upgrades: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def tenant(self, org_id: UUID, *, readonly: bool = False) -> AsyncIterator[Transaction]:
        # str(UUID(…)) is hex digits and dashes whatever came in, so it may stand in the text.
        async with self._transaction(
            f"BEGIN {'READ ONLY' if readonly else 'READ WRITE'}; SET LOCAL ROLE looma_app; "
            f"SET LOCAL app.org_id = '{_uuid(org_id)}'",
            who=org_id,
            readonly=readonly,
        ) as transaction:
            yield transaction

    @asynccontextmanager
    async def calling(self, org_id: UUID) -> AsyncIterator[Call]:
        async with self._turn(org_id):
            try:
                await self.require(CORE)
                async with self.guard.call(self._acquire_timeout + 0.5, "ACQUIRE"):
                    connection = await self._acquire()
            except StoreUnavailable:
                self.guard.suspect()
                raise
            call = FunctionCall(
                connection,
                self.guard,
                _uuid(org_id),
                seconds=self._command_timeout + 1,
                topics=self._topics,
            )
            try:
                yield call
            except BaseException as error:
                # As in `_begin`: the others in the pool may be as stale as this one. A call that was
                # only late, for a lock or the server's limit, says nothing of them.
                standby = isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError)
                if self._pool is not None and (standby or is_lost(connection)):
                    await self._pool.expire_connections()
                await asyncio.shield(self._give_back(connection))
                raise
            await self._release(connection)

    @asynccontextmanager
    async def system(self, *, who: Hashable | None = None) -> AsyncIterator[Transaction]:
        begin = "BEGIN; SET LOCAL ROLE looma_system"
        async with self._transaction(begin, who=who) as transaction:
            yield transaction

    async def ping(self) -> None:
        await self.guard.ask()
        async with self.system() as transaction:
            await transaction.fetchval("SELECT 1")

    async def require(self, part: str) -> None:
        """Make sure that the tables of `part` exist: runs pending migrations once per process.

        Callers that arrive meanwhile share the attempt; the next one after a failure tries again.
        """
        if part in self._ready:
            return
        task = self._upgrades.get(part)
        if task is None:
            task = asyncio.create_task(self._upgrade(part))
            self._upgrades[part] = task
            task.add_done_callback(lambda done: self._upgraded(part, done))
        await asyncio.shield(task)

    async def close(self) -> None:
        self._closed = True
        await self.guard.close()
        for task in list(self._upgrades.values()):
            task.cancel()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(5):
                    await pool.close()
            except _CAUGHT:
                pool.terminate()

    # -- transactions ------------------------------------------------------------------------

    @asynccontextmanager
    async def _transaction(
        self, begin: str, *, who: Hashable | None = None, readonly: bool = False
    ) -> AsyncIterator[Transaction]:
        async with self._turn(who), self._connected(begin, readonly=readonly) as transaction:
            yield transaction

    @asynccontextmanager
    async def _turn(self, who: Hashable | None) -> AsyncIterator[None]:
        """At a connection, while the server is not known to be down."""
        await self.guard.admit()
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.turns.turn(who, self._acquire_timeout))
            except TimeoutError as error:  # says nothing of the server: the guard isn't told
                raise POSTGRES.unavailable("all connections are in use") from error
            yield

    @asynccontextmanager
    async def _connected(self, begin: str, *, readonly: bool) -> AsyncIterator[Transaction]:
        try:
            await self.require(CORE)
            async with self.guard.call(self._acquire_timeout + 0.5, "BEGIN"):
                connection = await self._begin(begin)
        except StoreUnavailable:
            self.guard.suspect()
            raise
        try:
            transaction = PostgresTransaction(
                connection,
                self.guard,
                seconds=self._command_timeout + 1,
                readonly=readonly,
                topics=self._topics,
            )
            yield transaction
            await transaction.commit()
        except BaseException:
            await asyncio.shield(self._give_back(connection))
            raise
        await self._release(connection)

    async def _begin(self, begin: str) -> Proxy:
        connection = await self._acquire()
        try:
            await connection.execute(begin, timeout=self._acquire_timeout)
        except _CAUGHT as error:
            # A standby can't begin to write: its place may have moved, so connect anew.
            standby = isinstance(error, asyncpg.FeatureNotSupportedError)
            gone = is_lost(connection) or standby or POSTGRES.kind(error) is StoreUnavailable
            await self._discard(connection)
            await self._open_pool().expire_connections()
            if not gone or isinstance(error, TimeoutError):  # who hangs now would hang again
                raise POSTGRES.error(error, StoreUnavailable if gone else None) from error
        except BaseException:
            await asyncio.shield(self._give_back(connection))
            raise
        else:
            return connection
        # The server went away and may be back: what the pool holds is stale, nothing has
        # happened yet, so one more attempt on a fresh connection is safe.
        connection = await self._acquire()
        try:
            await connection.execute(begin, timeout=self._acquire_timeout)
        except asyncpg.FeatureNotSupportedError as error:
            await self._discard(connection)
            raise POSTGRES.error(error, StoreUnavailable) from error
        except BaseException:
            await asyncio.shield(self._give_back(connection))
            raise
        return connection

    async def _acquire(self) -> Proxy:
        if self._closed:
            raise POSTGRES.unavailable("the pool is closed")
        pool = self._open_pool()
        try:
            await pool  # opens nothing yet: the pool's minimum is 0
            return await pool.acquire(timeout=self._acquire_timeout)
        except _CAUGHT as error:  # no request's fault: it hasn't asked for anything yet
            raise POSTGRES.error(error, StoreUnavailable) from error

    async def _give_back(self, connection: Proxy) -> None:
        """After a failed block: roll back what is open, or drop the connection if that fails."""
        with suppress(*_CAUGHT):
            if self.guard.up and not is_lost(connection) and connection.is_in_transaction():
                await connection.execute("ROLLBACK", timeout=self._acquire_timeout)
        if is_lost(connection) or connection.is_in_transaction():
            await self._discard(connection)
        else:
            await self._release(connection)

    async def _release(self, connection: Proxy) -> None:
        pool = self._pool
        if pool is None:  # closed meanwhile
            return
        with suppress(*_CAUGHT):  # the pool has dropped it then
            await pool.release(connection, timeout=self._acquire_timeout)

    async def _discard(self, connection: Proxy) -> None:
        with suppress(*_CAUGHT):  # the pool has dropped it already
            connection.terminate()
        await self._release(connection)

    def _open_pool(self) -> asyncpg.Pool:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._pool_size,
                init=_set_codecs,
                reset=_keep,
                timeout=self._acquire_timeout,
                command_timeout=self._command_timeout,
                server_settings=self._settings,
            )
        return self._pool

    async def _probe(self) -> bool:
        """Over a connection of its own: the pool's may all be busy."""
        try:
            connection = await asyncpg.connect(self._url, timeout=self._acquire_timeout)
        except asyncpg.PostgresError as error:
            return is_answer(error)
        except asyncpg.InterfaceError:
            return False
        connection.terminate()
        return True

    # -- schema ------------------------------------------------------------------------------

    async def _upgrade(self, part: str) -> None:
        with POSTGRES:
            connection = await asyncpg.connect(
                self._url,
                timeout=self._acquire_timeout,
                command_timeout=_MIGRATION_SECONDS,
                server_settings={**self._settings, "statement_timeout": "0", "lock_timeout": "0"},
            )
            try:
                await migrate(connection, (part,))
            finally:
                await connection.close(timeout=self._acquire_timeout)
        self._ready |= {CORE, part}

    def _upgraded(self, part: str, task: asyncio.Task[None]) -> None:
        self._upgrades.pop(part, None)
        if not task.cancelled():
            task.exception()  # every waiter got it; if all of them left, nobody has to


def _uuid(value: UUID | str) -> str:
    return str(value if isinstance(value, UUID) else UUID(value))


async def _keep(_connection: asyncpg.Connection) -> None:
    """The pool's reset: nothing, because nothing outlives a transaction."""


async def _set_codecs(connection: asyncpg.Connection) -> None:
    """Read json and jsonb as Python values and uuid as the standard library's.

    asyncpg's own subclass of UUID can't be written by orjson.
    """

    async def codec(name: str, encoder: Any, decoder: Any) -> None:
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="binary"
        )

    await codec("json", orjson.dumps, orjson.loads)
    # jsonb's binary form is a version byte before the text.
    await codec("jsonb", lambda value: b"\x01" + orjson.dumps(value), _read_jsonb)
    await codec("uuid", _write_uuid, lambda raw: UUID(bytes=raw))


def _write_uuid(value: UUID | str) -> bytes:
    return value.bytes if isinstance(value, UUID) else UUID(_uuid(value)).bytes


def _read_jsonb(raw: bytes) -> Any:
    return orjson.loads(memoryview(raw)[1:])
