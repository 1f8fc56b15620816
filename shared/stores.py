"""Where each store is: the setting's URL, or the embedded server of this home."""

from __future__ import annotations

from shared.config import Config
from shared.data_access.access import StoreUrls
from shared.embedded.stores import find
from shared.errors import ConfigError


def store_urls(config: Config) -> StoreUrls:
    """URLs of all stores; ConfigError if one has no setting and none runs embedded in this home."""
    if config.database_url and config.graph_url and config.redis_url:
        return StoreUrls(
            database=config.database_url,
            graph=config.graph_url,
            vector=config.vector_url,
            search=config.search_url,
            redis=config.redis_url,
        )
    embedded = find(config.home)
    if embedded is None:
        missing = " and ".join(
            name
            for name, value in (
                ("DATABASE_URL", config.database_url),
                ("GRAPH_URL", config.graph_url),
                ("REDIS_URL", config.redis_url),
            )
            if not value
        )
        raise ConfigError(
            f"{missing}: not set, and no embedded stores run under {config.home}. "
            "Start them with `looma up`, or set the URL, e.g. "
            "DATABASE_URL=postgresql://user:password@host:5432/looma"
        )
    return StoreUrls(
        database=config.database_url or embedded.database_url,
        graph=config.graph_url or embedded.graph_url,
        vector=config.vector_url,
        search=config.search_url,
        redis=config.redis_url or embedded.redis_url,
    )
