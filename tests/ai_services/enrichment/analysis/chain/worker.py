"""A process that works off what waits for a model: `python -m …worker ORG_ID`, settings from outside."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from uuid import UUID

from ai_services.enrichment.analysis.chain.opening import open_chain
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.data_access.relational.postgres import Postgres
from shared.telemetry.metrics import BoundedRegistry
from tests.ai_services.enrichment.test_events import LISTENED


async def main(org_id: UUID) -> None:
    config = Config.from_env()
    assert config.database_url is not None
    assert config.redis_url is not None
    db = Postgres(config.database_url, pool_size=6, topics=LISTENED)
    cache = RedisCache(config.redis_url)
    async with AsyncExitStack() as stack:
        chain = await open_chain(config, db, cache, BoundedRegistry(), stack)
        assert chain.models is not None
        print("begun", flush=True)
        await chain.models.run(org_id, lease=2.0)
    await cache.close()
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(UUID(sys.argv[1])))
