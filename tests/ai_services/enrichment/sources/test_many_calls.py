"""Years of a dialler at once: slow, and what it takes stays small."""

from __future__ import annotations

from datetime import date

import psutil
import pytest
from asyncmy.errors import MySQLError

from ai_services.enrichment.sources.sources_file import read_sources
from ai_services.enrichment.sources.verify import Verification
from benchmarks.sync import dialler
from tests.ai_services.enrichment.sources.sync_shop import SECRETS, SyncShop
from tests.ai_services.enrichment.test_importing import KEY
from tests.conftest import skip_unless_ci

MONTHS = [f"2024_{number:02}" for number in range(1, 13)]
CALLS = 3_000_000


@pytest.mark.slow
async def test_three_million_calls_of_twelve_tables_come_in_and_are_equal(shop: SyncShop) -> None:
    opened = dialler(CALLS, MONTHS)
    try:
        source = await opened.__aenter__()
    except (MySQLError, OSError) as error:
        skip_unless_ci(f"no MariaDB with a sequence engine: {error!r}")
    try:
        url = f"mysql://{source.user}@{source.host}:{source.port}/{source.name}"
        shop.sources.write_text(
            f'[dialler]\norganisation = "{shop.slug}"\nkind = "autodialer"\nurl = "{url}"\n'
            'password = "DIALLER"\ntls = "off"\ntimezone = "Asia/Shanghai"\nhistory_months = 12\n'
        )
        before = psutil.Process().memory_info().rss
        async with shop.working():
            result = await shop.result(await shop.ask(), 3_600)
        grown = psutil.Process().memory_info().rss - before
        assert (result["inserted"], result["tables"]) == (CALLS, 12)
        assert tuple(await shop.rows("SELECT count(*) FROM call_record_enriched")) == ((CALLS,),)
        assert grown < 600 << 20  # pages, and what allocators keep of them
        settings = read_sources(shop.sources, SECRETS)["dialler"]
        verification = await Verification.of(shop.db, KEY, shop.org_id, settings)
        day = date(2024, 12, 5)
        compared = [one async for one in verification.days(day, day)]
        assert len(compared) == 12
        assert all(one.theirs == one.ours > 0 for one in compared)
        assert not any(one.differs for one in compared)
    finally:
        await opened.__aexit__(None, None, None)
