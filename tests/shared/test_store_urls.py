"""Which URL each store gets."""

from pathlib import Path

import pytest

from shared.config import Config
from shared.errors import ConfigError
from shared.store_urls import store_urls


def config(tmp_path: Path, **urls: str) -> Config:
    return Config.from_env({"LOOMA_HOME": str(tmp_path), **urls})


def test_settings_win(tmp_path: Path) -> None:
    urls = store_urls(
        config(
            tmp_path,
            DATABASE_URL="postgresql://db/x",
            GRAPH_URL="bolt://graph",
            REDIS_URL="redis://cache",
            SEARCH_URL="http://search",
        )
    )
    assert (urls.database, urls.graph, urls.redis) == (
        "postgresql://db/x",
        "bolt://graph",
        "redis://cache",
    )
    assert (urls.search, urls.vector) == ("http://search", None)


def test_only_the_ports_asked_for_need_a_url(tmp_path: Path) -> None:
    urls = store_urls(config(tmp_path, REDIS_URL="redis://cache"), {"cache"})
    assert (urls.redis, urls.database) == ("redis://cache", "")


def test_what_is_missing_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"GRAPH_URL and REDIS_URL: not set.*looma up"):
        store_urls(config(tmp_path, DATABASE_URL="postgresql://db/x"))
