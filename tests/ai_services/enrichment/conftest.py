"""A workshop for jobs on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.workshop import Workshop


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Workshop]:
    db = Postgres(database_url, pool_size=12)
    folder = tmp_path / "sync"
    folder.mkdir()
    yield await Workshop.opened(db, database_url, folder)
    await db.close()
