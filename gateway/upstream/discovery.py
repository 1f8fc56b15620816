"""Service discovery: the registry's instances and those named in GATEWAY_UPSTREAMS.

The registry is read every 2 s, and when somebody comes or goes. When it can't be, or knows nobody
for a service that was there a moment ago (a Redis that restarted is empty until the next
heartbeats), the last known instances stay; a dead one among them only costs a refused connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import structlog

from gateway.timeouts import Timeouts
from gateway.upstream.instance import Instance
from shared.data_access.ports import Cache
from shared.errors import StoreError
from shared.serving.registry import CHANGED, instances
from shared.serving.registry import Instance as Registered

GATEWAYS: Final = "gateway"  # the name under which gateways stand in the registry themselves
_LAST_KNOWN_S: Final = 30.0
_LEAST_S: Final = 0.1  # between two readings: of many that come at once not each is read alone
log = structlog.get_logger()


class Discovery:
    """`of(service)` is a dictionary look-up; `refresh` runs beside it."""

    def __init__(
        self, cache: Cache, static: Mapping[str, Sequence[str]], timeouts: Timeouts
    ) -> None:
        self._cache = cache
        self._timeouts = timeouts
        self._static = {
            service: tuple(
                _static(url, number, timeouts.connect) for number, url in enumerate(urls, start=1)
            )
            for service, urls in static.items()
        }
        self._registered: dict[str, tuple[Instance, ...]] = {}
        self._seen_at: dict[str, float] = {}
        self._replaced: set[tuple[str, str]] = set()  # address and id of those whose place is taken
        self._all: dict[str, tuple[Instance, ...]] = dict(self._static)
        self.fellows: tuple[Registered, ...] = ()  # gateways in the registry, as it was read last
        self.registry = "not read yet"  # 'up', or what is wrong with it
        self._changed = asyncio.Event()

    def of(self, service: str) -> tuple[Instance, ...]:
        return self._all.get(service, ())

    @property
    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        """Every instance that is known, by service; the gateways are not among them."""
        return self._all

    @property
    def gateways(self) -> int:
        return len(self.fellows)

    async def refresh_forever(self) -> None:
        interval = self._timeouts.registry
        least = min(_LEAST_S, interval)
        while True:
            self._changed.clear()
            await self.refresh()
            await asyncio.sleep(least)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval - least):
                    await self._changed.wait()

    async def hear_forever(self) -> None:
        """Have the registry read when somebody comes or goes; StoreUnavailable without Redis."""
        async with self._cache.subscribe(CHANGED) as messages:
            async for _ in messages:
                self._changed.set()

    async def refresh(self) -> None:
        """Read the registry once; what is known stays if that fails."""
        try:
            found = await instances(self._cache)
        except StoreError as error:
            self._note(error.message)
            return
        except (TypeError, ValueError):
            self._note("an entry of the registry is not readable")
            return
        self._note(await self._written())
        self.fellows = tuple(found.pop(GATEWAYS, ()))
        self._take(found, asyncio.get_running_loop().time())

    def close(self) -> None:
        for several in self._all.values():
            for one in several:
                one.retire()

    async def _written(self) -> str:
        """'up', or why the registry can't be written: services that start would stay unknown."""
        try:
            await self._cache.ping()
        except StoreError as error:
            return error.message
        return "up"

    def _note(self, state: str) -> None:
        if state != self.registry:
            log.info("registry", state=state, services=sorted(self._all))
        self.registry = state

    def _take(self, found: Mapping[str, Sequence[Registered]], now: float) -> None:
        registered: dict[str, tuple[Instance, ...]] = {}
        written_now = {(str(one.url), str(one.id)) for all_ in found.values() for one in all_}
        self._replaced &= written_now
        for service in {*found, *self._registered}:
            known = {one.url: one for one in self._registered.get(service, ())}
            written = self._by_address(found.get(service, ()), known)
            current = {url: one for url, one in written.items() if _usable(url)}
            if current:
                self._seen_at[service] = now
                registered[service] = tuple(
                    known.pop(url) if _same(known.get(url), one) else self._instance(url, one)
                    for url, one in current.items()
                )
            elif now - self._seen_at.get(service, float("-inf")) < _LAST_KNOWN_S:
                registered[service] = tuple(known.values())
                known = {}
            for gone in known.values():
                gone.retire()
        self._registered = registered
        self._all = {service: self._merged(service) for service in {*self._static, *registered}}

    def _by_address(
        self, found: Sequence[Registered], known: Mapping[str, Instance]
    ) -> dict[str, Registered]:
        """One process for each address.

        One that was killed and came back stands there twice until its old entry expires: the one
        that was not there before is the one that lives.
        """
        chosen: dict[str, Registered] = {}
        # str(): what stands in Redis is not checked when it is read.
        for url in dict.fromkeys(str(one.url) for one in found):
            here = [one for one in found if str(one.url) == url]
            alive = [one for one in here if (url, str(one.id)) not in self._replaced] or here
            new = [one for one in alive if not _same(known.get(url), one)]
            chosen[url] = new[-1] if new else alive[-1]
            self._replaced |= {(url, str(one.id)) for one in here if one is not chosen[url]}
        return chosen

    def _instance(self, url: str, one: Registered) -> Instance:
        return Instance(url, str(one.id)[:8], self._timeouts.connect, str(one.version))

    def _merged(self, service: str) -> tuple[Instance, ...]:
        static = self._static.get(service, ())
        urls = {one.url for one in static}
        merged = static + tuple(
            one for one in self._registered.get(service, ()) if one.url not in urls
        )
        before = self._all.get(service)
        return before if before == merged else merged  # pools compare identities


def _static(url: str, number: int, connect: float) -> Instance:
    """`http://host:port#2` names the version too."""
    address, _, version = url.partition("#")
    return Instance(address, f"static-{number}", connect, version or "1")


def _same(known: Instance | None, one: Registered) -> bool:
    """Whether this is the process that we know, not only its address."""
    return known is not None and (known.name, known.version) == (str(one.id)[:8], str(one.version))


def _usable(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)
