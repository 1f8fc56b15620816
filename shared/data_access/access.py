"""UnifiedDataAccess: the ports that one process has opened, as one object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry

from shared.data_access.guard import Guard
from shared.data_access.guard_metrics import GuardMetrics
from shared.data_access.ports import Cache, Graph, Relational, Search, Vectors
from shared.data_access.relational.pool_metrics import PoolMetrics
from shared.data_access.relational.postgres import Postgres
from shared.errors import ConfigError, InternalError

PORTS = frozenset({"relational", "graph", "vectors", "search", "cache"})


@dataclass(frozen=True, slots=True)
class StoreUrls:
    """Where the stores are. `vector` and `search` None: both live in PostgreSQL."""

    database: str = field(repr=False)
    graph: str = field(repr=False)
    vector: str | None = field(repr=False)
    search: str | None = field(repr=False)
    redis: str = field(repr=False)


class _Closable(Protocol):
    async def close(self) -> None: ...


_PortT = TypeVar("_PortT")
_AdapterT = TypeVar("_AdapterT", bound=_Closable)


class UnifiedDataAccess:
    """Reading a port that was not opened raises InternalError: the process didn't ask for it."""

    def __init__(
        self,
        *,
        relational: Relational | None = None,
        graph: Graph | None = None,
        vectors: Vectors | None = None,
        search: Search | None = None,
        cache: Cache | None = None,
        guards: Mapping[str, Guard] | None = None,
    ) -> None:
        self._relational = relational
        self._graph = graph
        self._vectors = vectors
        self._search = search
        self._cache = cache
        self._guards = dict(guards or {})

    @property
    def conditions(self) -> dict[str, Callable[[], str]]:
        """Of each store that a request can do without: ask for 'up' or what is wrong, no wait."""
        optional = self._guards.keys() - {"postgres"}
        return {name: self._guards[name].condition for name in sorted(optional)}

    @property
    def relational(self) -> Relational:
        return _opened("relational", self._relational)

    @property
    def graph(self) -> Graph:
        return _opened("graph", self._graph)

    @property
    def vectors(self) -> Vectors:
        return _opened("vectors", self._vectors)

    @property
    def search(self) -> Search:
        return _opened("search", self._search)

    @property
    def cache(self) -> Cache:
        return _opened("cache", self._cache)


@asynccontextmanager
async def open_data_access(
    urls: StoreUrls,
    *,
    ports: Collection[str] = PORTS,
    pool_size: int = 10,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[UnifiedDataAccess]:
    """Open `ports`, and close them in reverse order at the end.

    No store has to be up: the first call of a port connects. `pool_size` is the most connections
    to PostgreSQL; `registry` gets what is known of the stores. Raises ConfigError for an unknown port or a URL whose client isn't installed.
    """
    unknown = set(ports) - PORTS
    if unknown:
        raise ConfigError(f"Unknown port {', '.join(sorted(unknown))}: there are {sorted(PORTS)}.")
    async with AsyncExitStack() as stack:

        def opened(adapter: _AdapterT) -> _AdapterT:
            stack.push_async_callback(adapter.close)
            return adapter

        postgres = opened(Postgres(urls.database, pool_size=pool_size))
        cache = opened(_cache(urls)) if "cache" in ports else None
        graph = opened(_graph(urls)) if "graph" in ports else None
        search = opened(_search(urls, postgres)) if "search" in ports else None
        vectors = opened(_vectors(urls, postgres)) if "vectors" in ports else None
        guards = _guards(
            postgres=postgres, redis=cache, graph=graph, search=search, vectors=vectors
        )
        if registry is not None:
            registry.register(GuardMetrics(guards))
            registry.register(PoolMetrics(postgres.turns))
        yield UnifiedDataAccess(
            relational=postgres if "relational" in ports else None,
            cache=cache,
            graph=graph,
            search=search,
            vectors=vectors,
            guards=guards,
        )


def _guards(**adapters: object) -> dict[str, Guard]:
    """By store; what lives in PostgreSQL has none of its own."""
    found = {name: getattr(adapter, "guard", None) for name, adapter in adapters.items()}
    return {name: guard for name, guard in found.items() if guard is not None}


# Adapters are imported where they are chosen: a client library costs tens of megabytes and up to
# a second, and a process pays for the stores that it uses only.


def _cache(urls: StoreUrls) -> Cache:
    from shared.data_access.cache.redis import RedisCache  # noqa: PLC0415 - see above

    return _from_url("REDIS_URL", urls.redis, ("redis", "rediss", "unix"), RedisCache)


def _graph(urls: StoreUrls) -> Graph:
    from shared.data_access.graph.bolt import BoltGraph  # noqa: PLC0415 - see above

    schemes = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
    return _from_url("GRAPH_URL", urls.graph, schemes, BoltGraph)


def _search(urls: StoreUrls, postgres: Postgres) -> Search:
    if urls.search is None:
        from shared.data_access.search.postgres import PostgresSearch  # noqa: PLC0415 - see above

        return PostgresSearch(postgres)
    try:
        from shared.data_access.search.elasticsearch import (  # noqa: PLC0415 - see above
            ElasticsearchSearch,
        )
    except ImportError as error:
        raise _missing("SEARCH_URL", "elasticsearch") from error
    return _from_url("SEARCH_URL", urls.search, ("http", "https"), ElasticsearchSearch)


def _vectors(urls: StoreUrls, postgres: Postgres) -> Vectors:
    if urls.vector is None:
        from shared.data_access.vectors.pgvector import PgVectors  # noqa: PLC0415 - see above

        return PgVectors(postgres)
    try:
        from shared.data_access.vectors.weaviate import WeaviateVectors  # noqa: PLC0415 - see above
    except ImportError as error:
        raise _missing("VECTOR_URL", "weaviate") from error
    return _from_url("VECTOR_URL", urls.vector, ("http", "https"), WeaviateVectors)


def _from_url(
    setting: str, url: str, schemes: Collection[str], adapter: Callable[[str], _PortT]
) -> _PortT:
    scheme = url.partition("://")[0]
    if scheme not in schemes:
        raise ConfigError(
            f"{setting}: {scheme!r} is no scheme of this store. "
            f"It starts with {' or '.join(f'{known}://' for known in schemes)}"
        )
    return adapter(url)


def _missing(setting: str, extra: str) -> ConfigError:
    return ConfigError(
        f"{setting} is set, but its client isn't installed: pip install 'looma-ai[{extra}]'"
    )


def _opened(name: str, port: _PortT | None) -> _PortT:
    if port is None:
        raise InternalError(f"Port {name!r} isn't open here: name it in open_data_access(ports=…).")
    return port
