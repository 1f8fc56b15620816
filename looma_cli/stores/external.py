"""Stores that a setting names: whether they answer, told with the setting's name."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from shared.config import Config
from shared.data_access.access import UnifiedDataAccess
from shared.errors import StoreError, StoreUnavailable

_SETTING_OF = {
    "relational": "DATABASE_URL",
    "cache": "REDIS_URL",
    "graph": "GRAPH_URL",
    "vectors": "VECTOR_URL",
    "search": "SEARCH_URL",
}


def external(config: Config) -> dict[str, str]:
    """Port → URL of the stores that a setting names."""
    urls = {
        "relational": config.database_url,
        "cache": config.redis_url,
        "graph": config.graph_url,
        "vectors": config.vector_url,
        "search": config.search_url,
    }
    return {port: url for port, url in urls.items() if url is not None}


async def require_external(config: Config, data: UnifiedDataAccess, ports: Collection[str]) -> None:
    """Raise StoreUnavailable for the first of `ports` whose server has a URL and doesn't answer."""
    for port, url in external(config).items():
        if port not in ports:
            continue
        try:
            await getattr(data, port).ping()
        except StoreError as error:
            raise StoreUnavailable(
                f"{_SETTING_OF[port]}: {error.message} The setting says {_place(url)}: is a server "
                "up there, and are user and password right?"
            ) from error


def _place(url: str) -> str:
    """Host and port, without anything secret."""
    parts = urlsplit(url)
    if parts.hostname is None:
        return parts.path or parts.scheme
    return parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
