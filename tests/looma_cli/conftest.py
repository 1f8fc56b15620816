"""The command as people use it, on stores of this run and a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.embedded.stores import Endpoints
from tests.looma_cli.looma import Looma


@pytest.fixture
def looma(tmp_path: Path, stores: Endpoints, database_url: str, redis_url: str) -> Looma:
    """With an organisation."""
    looma = Looma(
        tmp_path / "home",
        tmp_path,
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        GRAPH_URL=stores.graph_url,
    )
    looma("orgs", "create", "acme")
    return looma
