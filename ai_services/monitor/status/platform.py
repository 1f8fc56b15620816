"""What is the platform's: its services, by the registry, and its stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx

from ai_services.monitor.status.patience import Patience
from ai_services.monitor.status.report import (
    InstanceReport,
    ServiceReport,
    StoreName,
    StoreReport,
)
from shared.data_access.access import UnifiedDataAccess
from shared.data_access.ports import Cache, Graph, Relational, Search, Vectors
from shared.errors import LoomaError, UpstreamTimeout
from shared.services import PROCESSES
from shared.serving.peers import Readiness, ask_ready
from shared.serving.registry import Instance, KnownInstances

Port = Relational | Graph | Vectors | Search | Cache


class Services:
    """Every process of the platform: those that it should have, and those that are announced."""

    def __init__(
        self, instances: KnownInstances, client: httpx.AsyncClient, patience: Patience
    ) -> None:
        self._instances = instances
        self._client = client
        self._patience = patience

    async def look(self) -> list[ServiceReport]:
        """In the order of shared/services.py, then others by name; StoreUnavailable if the registry is."""
        found = await self._patience.ask(self._instances.all())
        names = dict.fromkeys([*(one.name for one in PROCESSES), *sorted(found)])
        return list(
            await asyncio.gather(*(self._service(name, found.get(name, ())) for name in names))
        )

    async def _service(self, name: str, instances: Sequence[Instance]) -> ServiceReport:
        # One that was killed and came back stands there twice until its old entry expires.
        by_address = {str(one.url): one for one in instances}
        asked = await asyncio.gather(*(self._instance(one) for one in by_address.values()))
        return ServiceReport(name, tuple(asked))

    async def _instance(self, one: Instance) -> InstanceReport:
        started = time.perf_counter()
        try:
            found = await self._patience.ask(ask_ready(self._client, str(one.url)))
        except UpstreamTimeout as error:
            found = Readiness(False, (error.message,))
        return InstanceReport(
            # What stands in Redis isn't checked; credentials in an address are nobody's to see.
            address=urlsplit(str(one.url)).netloc.rpartition("@")[2],
            version=str(one.version),
            ready=found.ready,
            latency_ms=_milliseconds_since(started),
            wrong=found.wrong,
        )


class Stores:
    """The five stores of the platform, each pinged over its own port."""

    def __init__(
        self, data: UnifiedDataAccess, within: Mapping[StoreName, StoreName], patience: Patience
    ) -> None:
        self._ports: Mapping[StoreName, Port] = {
            "postgres": data.relational,
            "redis": data.cache,
            "graph": data.graph,
            "vectors": data.vectors,
            "search": data.search,
        }
        self._within = within
        self._patience = patience

    async def look(self) -> list[StoreReport]:
        return list(await asyncio.gather(*(self._store(*one) for one in self._ports.items())))

    async def _store(self, name: StoreName, port: Port) -> StoreReport:
        started, reason = time.perf_counter(), ""
        try:
            await self._patience.ask(port.ping())
        except LoomaError as error:
            reason = error.message
        return StoreReport(name, _milliseconds_since(started), reason, self._within.get(name))


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
