from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ai_services.enrichment.analysis.chain.bench import Bench, opened_bench


@pytest.fixture
async def bench(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(database_url, redis_url, tmp_path) as opened:
        yield opened
