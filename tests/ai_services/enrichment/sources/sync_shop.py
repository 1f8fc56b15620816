"""Where tests let a source be read, in this process or in others.

`python -m tests.ai_services.enrichment.sources.sync_shop URL SOURCES_FILE` is a process that does it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis.chain.first_look import FirstLook
from ai_services.enrichment.analysis.chain.metrics import ChainMetrics
from ai_services.enrichment.analysis.chain.opening import Chain
from ai_services.enrichment.analysis.metrics import AnalysisMetrics
from ai_services.enrichment.analysis.pending import PooledAnalyzer, pooled_analyzer
from ai_services.enrichment.counts import OrganisationCounts
from ai_services.enrichment.jobs import JOBS
from ai_services.enrichment.sources.connected import Connected
from ai_services.enrichment.sources.metrics import SourceMetrics
from ai_services.enrichment.sources.sources_file import read_sources
from ai_services.enrichment.work import Work
from shared.data_access.relational.postgres import Postgres
from shared.jobs.enqueue import enqueue
from shared.jobs.store import jobs
from shared.jobs.store.jobs import Job
from shared.jobs.worker import Worker
from shared.telemetry.metrics import Metrics
from tests.ai_services.enrichment.sources.dialler import ZONE, Dialler
from tests.ai_services.enrichment.test_importing import KEY
from tests.shared.jobs.workplace import QUICK, running, until

_ROOT = Path(__file__).parents[4]
SECRETS = {"DIALLER": ""}


def make_work(analyzer: PooledAnalyzer, sources: Path) -> Work:
    metrics = Metrics("enrichment", 50)
    counts = OrganisationCounts(metrics)
    analyses = AnalysisMetrics(analyzer.name, counts, metrics.registry)
    settings = read_sources(sources, SECRETS)
    connected = Connected(SourceMetrics(metrics.registry), settings)
    chain = Chain(FirstLook(), None, ChainMetrics(metrics.registry))
    return Work(KEY, analyzer, chain, analyses, counts, connected=connected)


@dataclass
class SyncShop:
    """One organisation and its sources file."""

    db: Postgres
    url: str
    org_id: UUID
    folder: Path
    slug: str = field(default="")

    @property
    def sources(self) -> Path:
        return self.folder / "sources.toml"

    def connect(self, source: Dialler, more: str = "", name: str = "dialler") -> None:
        """Write the sources file."""
        text = f"""[{name}]
organisation = "{self.slug}"
kind = "autodialer"
url = "{source.url}"
password = "DIALLER"
tls = "off"
timezone = "{ZONE}"
page_rows = 100
{more}
"""
        self.sources.write_text(text, encoding="utf-8")

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with pooled_analyzer(1) as analyzer:
            work = make_work(analyzer, self.sources)
            registry = CollectorRegistry()
            worker = Worker(
                self.db, work, JOBS, service="enrichment", registry=registry, pace=QUICK
            )
            async with running(worker):
                yield

    async def process(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, self.url, str(self.sources), cwd=_ROOT
        )

    async def ask(self, **args: Any) -> int:
        return await self.ask_for("sync_source", source="dialler", **args)

    async def ask_for(self, name: str, **args: Any) -> int:
        (kind,) = [one for one in JOBS if one.name == name]
        async with self.db.tenant(self.org_id) as tx:
            return (await enqueue(tx, kind, args, org_id=self.org_id)).job_id

    async def job(self, job_id: int) -> Job:
        async with self.db.system() as tx:
            return await jobs.get_job(tx, job_id)

    async def result(self, job_id: int, seconds: float = 120) -> dict[str, Any]:
        async def over() -> bool:
            return (await self.job(job_id)).finished_at is not None

        await until(over, seconds)
        job = await self.job(job_id)
        assert job.state == "succeeded", job.error
        return dict(job.result or {})

    async def sync(self, **args: Any) -> dict[str, Any]:
        """What a run that succeeds tells, by a worker of this process."""
        async with self.working():
            return await self.result(await self.ask(**args))

    async def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self.db.tenant(self.org_id) as tx:
            return [tuple(row.values()) for row in await tx.fetch(query, *values)]

    async def state(self) -> list[tuple[Any, ...]]:
        """Every call with what was said in it and where it came from."""
        return await self.rows(
            """SELECT c.callid, c.task_id, c.user_id, c.started_at, c.duration_ms, c.bill_ms, c.rounds,
                      c.level_name, c.call_status, c.hangup_by, c.phone_masked, t.turns::text,
                      c.agent_id, s.source, s.shard
               FROM call_record_enriched c
               LEFT JOIN call_transcript t USING (org_id, callid)
               LEFT JOIN source_call s USING (org_id, callid) ORDER BY c.callid"""
        )


async def _main(url: str, sources: str) -> None:
    db = Postgres(url, pool_size=8)
    async with pooled_analyzer(1) as analyzer:
        work = make_work(analyzer, Path(sources))
        registry = CollectorRegistry()
        await Worker(db, work, JOBS, service="enrichment", registry=registry, pace=QUICK).run()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
