"""Where each store is: the setting's URL, or the embedded server of this home."""

from __future__ import annotations

from collections.abc import Collection

from shared.config import Config
from shared.data_access.access import PORTS, StoreUrls
from shared.embedded.stores import find
from shared.errors import ConfigError

_EXAMPLE = "DATABASE_URL=postgresql://user:password@host:5432/looma"


def store_urls(config: Config, ports: Collection[str] = PORTS) -> StoreUrls:
    """URLs of the stores behind `ports`.

    Raises ConfigError if one of them has no setting and none runs embedded in this home; a
    store that `ports` doesn't need may be missing, and its URL is then empty.
    """
    wanted: dict[str, str | None] = {}
    if set(ports) - {"graph", "cache"}:
        wanted["DATABASE_URL"] = config.database_url
    if "graph" in ports:
        wanted["GRAPH_URL"] = config.graph_url
    if "cache" in ports:
        wanted["REDIS_URL"] = config.redis_url
    missing = [name for name, url in wanted.items() if not url]
    # Without the search and vector settings their ports live in PostgreSQL.
    embedded = find(config.home) if missing else None
    if missing and embedded is None:
        raise ConfigError(
            f"{' and '.join(missing)}: not set, and no embedded stores run under {config.home}. "
            f"Start them with `looma up`, or set the URL, e.g. {_EXAMPLE}"
        )
    return StoreUrls(
        database=config.database_url or (embedded.database_url if embedded else ""),
        graph=config.graph_url or (embedded.graph_url if embedded else ""),
        vector=config.vector_url,
        search=config.search_url,
        redis=config.redis_url or (embedded.redis_url if embedded else ""),
    )


def embedded_servers(config: Config) -> frozenset[str]:
    """The embedded servers that this configuration needs: those of stores without a URL."""
    urls = {"postgres": config.database_url, "redis": config.redis_url, "graph": config.graph_url}
    return frozenset(name for name, url in urls.items() if not url)
