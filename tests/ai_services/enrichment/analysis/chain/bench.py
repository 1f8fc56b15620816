"""A chain on a database of its own, before a real llm service and a model server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis.chain.opening import Chain, open_chain
from ai_services.enrichment.analysis.local import Analysis, Turn
from ai_services.enrichment.analysis.pending import analyse_pending
from ai_services.llm.app import create_service
from benchmarks.model_server import ModelServer, model_server
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.data_access.ports import Row
from shared.data_access.relational.postgres import Postgres
from shared.telemetry.metrics import BoundedRegistry
from tests.ai_services.enrichment.records import record, write_jsonl
from tests.ai_services.enrichment.test_importing import bring_in, organisation

MODELS = """
currency = "USD"

[providers.loopback]
base_url = "{url}"
local = true
batch = true
batch_discount = 0.5

[models.judge]
deployments = [{{ provider = "loopback", model = "judge" }}]
context = 200000
max_output = 16384
prices = [{{ since = 2025-01-01, input = 1, output = 4 }}]

[providers.plain]
base_url = "{url}"

[models.plain]
deployments = [{{ provider = "plain", model = "judge" }}]
context = 200000
max_output = 16384
prices = [{{ since = 2025-01-01, input = 1, output = 4 }}]
"""
COMPLAINS = "你们的服务太差了，我要投诉！"


class Unsure:
    """A local analyser that is as sure as it is told to be."""

    name = "unsure"

    def __init__(self, confidence: float = 0.0) -> None:
        self.confidence = confidence

    async def analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
        one = Analysis("neutral", 0.5, "low", "low", "", self.name, self.confidence)
        return [one for _ in transcripts]


@dataclass
class Bench:
    """One organisation; `judge` is the model, which judges truthfully unless told otherwise."""

    db: Postgres
    url: str
    org_id: UUID
    judge: ModelServer
    settings: dict[str, str]
    chain: Chain
    registry: CollectorRegistry
    folder: Path
    stack: AsyncExitStack = field(repr=False)

    def behave(self, how: str = "honest", **fields: Any) -> None:
        self.judge.behave("judge", **{"judge": how, **fields})

    @property
    def asked(self) -> int:
        """Requests that the model has had."""
        return len(self.judge.bills)

    async def bring(self, *records: dict[str, Any]) -> None:
        await bring_in(
            self.db, self.org_id, write_jsonl(self.folder / "calls.jsonl", list(records))
        )

    async def first_look(self, confidence: float = 0.0) -> None:
        await analyse_pending(self.db, self.org_id, Unsure(confidence), first=self.chain.first)

    async def by_models(self, **how: Any) -> Any:
        assert self.chain.models is not None
        return await self.chain.models.run(self.org_id, **how)

    async def calls(self) -> dict[str, Row]:
        """callid → its analysis and its insight."""
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch(
                """SELECT c.callid, c.sentiment, c.complaint_risk, c.churn_risk, c.reason,
                          c.analyzer, c.llm_analyzed_at, i.*
                   FROM call_record_enriched c LEFT JOIN call_insight i USING (org_id, callid)"""
            )
        return {row["callid"]: row for row in rows}

    async def dead_letters(self) -> dict[str, str]:
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch("SELECT callid, reason FROM analysis_dead_letter")
        return {row["callid"]: row["reason"] for row in rows}

    async def count(self, table: str) -> int:
        async with self.db.tenant(self.org_id) as tx:
            number: int = await tx.fetchval(f"SELECT count(*) FROM {table}")
        return number

    async def ledger(self) -> list[Row]:
        """Attempts, once all of them are settled."""
        async with asyncio.timeout(20):
            while True:
                async with self.db.tenant(self.org_id) as tx:
                    rows = await tx.fetch("SELECT * FROM cost_ledgers ORDER BY started_at")
                if all(row["settled_at"] for row in rows):
                    return rows
                await asyncio.sleep(0.02)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    async def reopened(self, **settings: str) -> None:
        """The chain with other settings."""
        config = Config.from_env(self.settings | settings)
        self.registry = BoundedRegistry()
        cache = RedisCache(self.settings["REDIS_URL"])
        self.stack.push_async_callback(cache.close)
        self.chain = await open_chain(config, self.db, cache, self.registry, self.stack)


@asynccontextmanager
async def opened_bench(
    database_url: str, redis_url: str, folder: Path, **settings: str
) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        judge = await stack.enter_async_context(model_server())
        models = folder / "models.toml"
        models.write_text(MODELS.format(url=judge.url))
        environment = {
            "LOOMA_HOME": str(folder),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "INTERNAL_TOKEN_SECRET": "s" * 64,
            "LLM_MODELS": str(models),
            "ANALYSIS_MODEL": "judge",
            "ANALYSIS_PER_MINUTE": "6000",
            "SHUTDOWN_SECONDS": "3",
            **settings,
        }
        service = create_service(Config.from_env(environment))
        await stack.enter_async_context(service.running(port=0))
        db = Postgres(database_url, pool_size=10)
        stack.push_async_callback(db.close)
        chain = Chain.__new__(Chain)  # reopened() puts the real one here
        bench = Bench(
            db, database_url, await organisation(db), judge, environment, chain,
            BoundedRegistry(), folder, stack,
        )  # fmt: skip
        await bench.reopened()
        bench.behave()
        yield bench


def spoken(
    callid: str, *customer: str, agent: str = "您好，请问有什么可以帮您？"
) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"role": "agent", "at_ms": 0, "text": agent}]
    turns += [
        {"role": "customer", "at_ms": 4000 * (n + 1), "text": text}
        for n, text in enumerate(customer)
    ]
    return record(callid, turns=turns)
