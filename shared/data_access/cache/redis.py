"""The cache port over redis.asyncio.

One retry on a lost connection, because every pooled connection is stale after Redis restarts;
none on a timeout, because the answer would come too late anyway.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, cast

import redis.asyncio as aioredis
import structlog
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.data_access.errors import NETWORK_ERRORS, Kind, Translator
from shared.data_access.guard import Guard
from shared.errors import StoreConflict, StoreError, StoreUnavailable

_UNAVAILABLE = (
    exceptions.ConnectionError,  # with it: busy loading, wrong password, no connection free
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,  # a replica after a failover
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.OutOfMemoryError,
)
# The first word of an answer that the client has no class for.
_UNAVAILABLE_CODES = frozenset(
    {
        "BUSY",  # a script of somebody's runs too long
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",  # it can't save: a full disk
        "NOAUTH",  # our credentials: the operator's to repair, as are the next
        "NOPERM",
        "NOREPLICAS",  # too few of them are there to be written to
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNBLOCKED",  # it became a replica
        "WRONGPASS",
    }
)
DRIVER_ERRORS: tuple[type[BaseException], ...] = (
    exceptions.RedisError,
    exceptions.RedisClusterException,
    exceptions.ChildDeadlockedError,
    exceptions.IncorrectPolicyType,
)
_LOST = DRIVER_ERRORS + NETWORK_ERRORS

_INCREMENT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
"""
_SCAN_PAGE = 1000
_PING_KEY = "looma:ping"
_log = structlog.get_logger("looma.store")


def classify(error: BaseException) -> Kind:
    if isinstance(error, _UNAVAILABLE) or str(error).partition(" ")[0] in _UNAVAILABLE_CODES:
        return StoreUnavailable
    if isinstance(error, exceptions.WatchError):
        return StoreConflict
    return StoreError


def is_answer(error: BaseException) -> bool:
    """Whether a running server said this; one that loads its data says so, and isn't one."""
    if isinstance(error, exceptions.AuthenticationError):
        return True
    return not isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError)


REDIS = Translator("cache", DRIVER_ERRORS, classify, system="redis")


class RedisCache:
    """Cache over a bounded pool of `pool_size` connections; opens none before the first call.

    A call fails after `timeout` seconds at most, with StoreUnavailable.
    """

    def __init__(self, url: str, *, pool_size: int = 64, timeout: float = 2.0) -> None:
        self._timeout = timeout
        self.guard = Guard(REDIS, self._probe)
        self._pool: Any = aioredis.BlockingConnectionPool.from_url(
            url,
            max_connections=pool_size,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=30,
            retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
        )
        # The client's own annotations mix its synchronous and asynchronous halves.
        self._client: Any = aioredis.Redis(connection_pool=self._pool)
        self._hashes: dict[str, str] = {}

    async def get(self, key: str) -> bytes | None:
        async with self._bounded("GET"):
            return cast("bytes | None", await self._client.get(key))

    async def set(self, key: str, value: bytes, *, ttl: float) -> None:
        async with self._bounded("SET"):
            await self._client.set(key, value, px=_milliseconds(ttl))

    async def delete(self, *keys: str) -> int:
        if not keys:
            return 0
        async with self._bounded("DEL"):
            return int(await self._client.delete(*keys))

    async def scan(self, prefix: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        cursor = 0
        while True:
            async with self._bounded("SCAN"):
                cursor, page = await self._client.scan(
                    cursor, match=_literal(prefix) + "*", count=_SCAN_PAGE
                )
                values = await self._client.mget(page) if page else []
            for key, value in zip(page, values, strict=True):
                if value is not None:  # expired between the two commands
                    found[key.decode()] = value
            if int(cursor) == 0:
                return found

    async def increment(self, key: str, *, ttl: float) -> int:
        return int(await self.eval(_INCREMENT, [key], [_milliseconds(ttl)]))

    async def publish(self, channel: str, message: bytes) -> int:
        async with self._bounded("PUBLISH"):
            return int(await self._client.publish(channel, message))

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Messages from here on. Subscribed when the block is entered; after Redis was away the
        subscription is renewed, and what was published meanwhile is lost.
        """
        subscription = _Subscription(self._client, channel, self._timeout)
        await subscription.open()
        try:
            yield subscription
        finally:
            await subscription.close()

    async def eval(
        self, script: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]
    ) -> Any:
        digest = self._hashes.get(script)
        if digest is None:
            # Redis names a script by its SHA-1; nothing is protected by it.
            digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
            self._hashes[script] = digest
        async with self._bounded("EVALSHA"):
            try:
                return await self._client.execute_command(
                    "EVALSHA", digest, len(keys), *keys, *args
                )
            except exceptions.NoScriptError:  # first use, or Redis has restarted
                return await self._client.eval(script, len(keys), *keys, *args)

    async def ping(self) -> None:
        """By a write: a replica, or a Redis that can't save, answers PING and refuses all others."""
        await self.guard.ask()
        async with self._bounded("SET"):
            await self._client.set(_PING_KEY, b"", px=1000)

    async def close(self) -> None:
        await self.guard.close()
        with suppress(*_LOST):
            await self._client.aclose()
            await self._pool.disconnect()

    def _bounded(self, command: str) -> AbstractAsyncContextManager[None]:
        return self.guard.call(self._timeout + 0.5, command)

    async def _probe(self) -> bool | str:
        """Over a connection of its own: those of the pool may all be waited for."""
        connection: Any = self._pool.make_connection()
        try:
            await connection.connect()
            await connection.send_command("SET", _PING_KEY, b"", "PX", 1000)
            await connection.read_response()
        except DRIVER_ERRORS as error:
            return is_answer(error) and str(error)
        else:
            return True
        finally:
            # A client's or a pool's close waits for tasks of its own, and leaves the connection
            # open if it is cancelled meanwhile; this waits for nothing.
            await connection.disconnect(nowait=True)


class _Subscription:
    """An endless iterator over one channel's messages that outlives the connection."""

    def __init__(self, client: Any, channel: str, timeout: float) -> None:
        self._client = client
        self._channel = channel
        self._timeout = timeout
        self._pubsub: Any = None

    async def open(self) -> None:
        pubsub = self._client.pubsub()
        self._pubsub = pubsub
        try:
            with REDIS:
                async with asyncio.timeout(self._timeout):
                    await pubsub.subscribe(self._channel)
                    # Redis's confirmation: what is published from now on arrives.
                    while await pubsub.get_message(timeout=self._timeout) is None:
                        pass
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with suppress(*_LOST):
                await pubsub.aclose()

    def __aiter__(self) -> _Subscription:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._pubsub is None:
                await self._reopen()
                continue
            try:
                message = await self._pubsub.get_message(
                    ignore_subscribe_messages=True, timeout=self._timeout
                )
            except _LOST as error:
                _log.warning("subscription_lost", channel=self._channel, text=str(error))
                await self.close()
                continue
            if message is not None and message["type"] == "message":
                return cast("bytes", message["data"])

    async def _reopen(self) -> None:
        delay = 0.1
        while True:
            with suppress(StoreError):
                await self.open()
                _log.info("subscription_renewed", channel=self._channel)
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)


def _milliseconds(ttl: float) -> int:
    return max(1, round(ttl * 1000))


def _literal(text: str) -> str:
    """`text` for a SCAN pattern, where some characters would mean more than themselves."""
    return "".join("\\" + char if char in "*?[]\\^-" else char for char in text)
