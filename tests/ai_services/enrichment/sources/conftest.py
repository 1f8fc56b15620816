"""A dialler of its own for each test, and the jobs that read it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from asyncmy.errors import MySQLError

from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.sources.dialler import Dialler, dialler
from tests.ai_services.enrichment.sources.sync_shop import SyncShop
from tests.ai_services.enrichment.test_importing import organisation
from tests.conftest import skip_unless_ci

LOCAL_MYSQL = os.environ.get("TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306")


@pytest.fixture
async def source() -> AsyncIterator[Dialler]:
    """On the MariaDB or MySQL at TEST_MYSQL_URL (default: 127.0.0.1:3306)."""
    opened = dialler(LOCAL_MYSQL, f"looma_test_{uuid4().hex[:12]}")
    try:
        found = await opened.__aenter__()
    except (MySQLError, OSError) as error:
        skip_unless_ci(f"no MariaDB at {LOCAL_MYSQL}: {error!r}")
    try:
        yield found
    finally:
        await opened.__aexit__(None, None, None)


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[SyncShop]:
    db = Postgres(database_url, pool_size=12)
    found = SyncShop(db, database_url, await organisation(db), tmp_path)
    async with db.system() as tx:
        found.slug = await tx.fetchval(
            "SELECT slug FROM organisation WHERE org_id = $1", found.org_id
        )
    yield found
    await db.close()
