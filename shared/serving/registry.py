"""Service discovery: every process announces itself in Redis and is forgotten when it goes quiet.

A key `registry:<service>:<instance>` lives 10 s and is written every 3 s, so that one lost
heartbeat changes nothing and a killed process is gone within 10 s. Who comes or goes is told on the
channel `CHANGED` as well, so that nobody has to wait until it is read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from uuid import uuid4

import orjson
import structlog

from shared.data_access.ports import Cache
from shared.errors import StoreUnavailable

TTL_S = 10.0
HEARTBEAT_S = 3.0
CHANGED = "registry:changed"
_PREFIX = "registry:"
_READ_AGAIN_S = 2.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True)
class Instance:
    """One process of a service, at `url` (scheme, host and port, no path)."""

    service: str
    url: str
    id: str
    version: str = "1"

    @property
    def key(self) -> str:
        return f"{_PREFIX}{self.service}:{self.id}"


async def announce(
    cache: Cache, service: str, url: str, version: str = "1", identity: str = ""
) -> None:
    """Heartbeat until cancelled, then withdraw. A Redis that is away is tried again.

    Every process is one of its own unless it has an `identity`, under which it counts once however
    often it is started again.
    """
    instance = Instance(service, url, identity or uuid4().hex, version)
    value = orjson.dumps(asdict(instance))
    known = False
    try:
        while True:
            try:
                await cache.set(instance.key, value, ttl=TTL_S)
                if not known:
                    await cache.publish(CHANGED, value)
                known = True
            except StoreUnavailable as error:
                known = False
                log.warning("registry unreachable, trying again", reason=error.message)
            await asyncio.sleep(HEARTBEAT_S)
    finally:
        # Best effort: the key expires by itself.
        with contextlib.suppress(StoreUnavailable):
            await cache.delete(instance.key)
            await cache.publish(CHANGED, value)


async def instances(cache: Cache) -> dict[str, tuple[Instance, ...]]:
    """All live instances by service, in a stable order; StoreUnavailable when Redis is away."""
    found: defaultdict[str, list[Instance]] = defaultdict(list)
    for key, value in (await cache.scan(_PREFIX)).items():
        try:
            instance = Instance(**orjson.loads(value))
        except (ValueError, TypeError):
            # One unreadable entry, of a newer version perhaps, must not hide the others.
            log.warning("unreadable registry entry", key=key)
            continue
        found[instance.service].append(instance)
    return {service: tuple(sorted(items)) for service, items in found.items()}


class KnownInstances:
    """The live instances as read a moment ago; the last known ones serve while Redis is away."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._known: Mapping[str, tuple[Instance, ...]] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def of(self, service: str) -> list[Instance]:
        """Those of a service, in an order by chance; StoreUnavailable if none was ever read."""
        found = list((await self.all()).get(service, ()))
        random.shuffle(found)
        return found

    async def all(self) -> Mapping[str, tuple[Instance, ...]]:
        """By service, in a stable order; StoreUnavailable if none was ever read."""
        async with self._reading:
            if time.monotonic() - self._read_at > _READ_AGAIN_S:
                try:
                    self._known = await instances(self._cache)
                except StoreUnavailable:
                    if not self._known:
                        raise
                self._read_at = time.monotonic()
        return self._known
