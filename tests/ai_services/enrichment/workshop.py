"""Where tests let the jobs of the enrichment service run, in this process or in others.

`python -m tests.ai_services.enrichment.workshop URL FOLDER` is a process that does them.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from ai_services.enrichment.imports.how_to_read import HowToRead
from ai_services.enrichment.imports.receiving import Sent, receive
from ai_services.enrichment.jobs import JOBS
from ai_services.enrichment.service import Received, Stores, add_calls
from ai_services.enrichment.sync.drop_folder import DropFolder
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from ai_services.enrichment.work import Work
from shared.data_access.relational.postgres import Postgres
from shared.data_access.search.postgres import PostgresSearch
from shared.jobs.enqueue import enqueue
from shared.jobs.store import jobs
from shared.jobs.store.jobs import Job
from shared.jobs.worker import Worker
from shared.telemetry.metrics import Metrics
from tests.ai_services.enrichment.calls_files import as_csv, as_jsonl, call
from tests.ai_services.enrichment.records import TURNS
from tests.ai_services.enrichment.test_importing import KEY, organisation, rows
from tests.shared.jobs.workplace import QUICK, running, until

_ROOT = Path(__file__).parents[3]
_PIECE = 100_000


def make_work(
    analyzer: PooledAnalyzer, folder: Path | None, country: str = DEFAULT_COUNTRY
) -> Work:
    metrics = Metrics("enrichment", 50)
    counts = OrganisationCounts(metrics)
    analyses = AnalysisMetrics(analyzer.name, counts, metrics.registry)
    sources = [] if folder is None else [DropFolder(folder)]
    chain = Chain(FirstLook(), None, ChainMetrics(metrics.registry))
    return Work(KEY, analyzer, chain, analyses, counts, sources, country=country)


@dataclass
class Workshop:
    """One organisation's jobs on one database; `folder` is what SYNC_FOLDER would be."""

    db: Postgres
    url: str
    org_id: UUID
    folder: Path
    country: str = DEFAULT_COUNTRY

    @classmethod
    async def opened(cls, db: Postgres, url: str, folder: Path) -> Workshop:
        return cls(db, url, await organisation(db), folder)

    @asynccontextmanager
    async def working(self, db: Postgres | None = None) -> AsyncIterator[None]:
        async with pooled_analyzer(1) as analyzer:
            work = make_work(analyzer, self.folder, self.country)
            registry = CollectorRegistry()
            worker = Worker(
                db or self.db, work, JOBS, service="enrichment", registry=registry, pace=QUICK
            )
            async with running(worker):
                yield

    async def process(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, self.url, str(self.folder), cwd=_ROOT,
        )  # fmt: skip

    async def send(
        self, content: bytes, name: str = "calls.csv", *, only_tried: bool = False, **how: Any
    ) -> int:
        """The job that imports it, or only tries to."""

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, len(content), _PIECE):
                yield content[start : start + _PIECE]

        sent = Sent(name, parts(), HowToRead(**how), only_tried)
        return await receive(self.db, KEY, self.org_id, sent)

    async def post(self, *records: dict[str, Any]) -> Received:
        """As they are sent to `POST /api/v1/calls`."""
        counts = OrganisationCounts(Metrics("enrichment", 50))
        stores = Stores(self.db, PostgresSearch(self.db), KEY, counts)
        sent = [json.dumps(record).encode() for record in records]
        return await add_calls(stores, self.org_id, sent)

    async def ask(self, kind: str) -> int:
        (known,) = [one for one in JOBS if one.name == kind]
        async with self.db.tenant(self.org_id) as tx:
            return (await enqueue(tx, known, {}, org_id=self.org_id)).job_id

    async def job(self, job_id: int) -> Job:
        async with self.db.system() as tx:
            return await jobs.get_job(tx, job_id)

    async def ended(self, job_id: int) -> Job:
        async def over() -> bool:
            return (await self.job(job_id)).finished_at is not None

        await until(over, 120)
        return await self.job(job_id)

    async def result(self, job_id: int) -> dict[str, Any]:
        """Of a job that succeeds."""
        job = await self.ended(job_id)
        assert job.state == "succeeded", job.error
        return dict(job.result or {})

    async def killed_until_ended(
        self, job_id: int, chance: random.Random, stride: int, pause_s: float = 0.1
    ) -> tuple[Job, int]:
        """The job as it ended, and how many processes that did it were killed at moments of chance.

        Each comes less than `stride` further than the one before, and `pause_s` at most beyond that.
        """
        kills = 0
        while (job := await self.job(job_id)).finished_at is None:
            process = await self.process()
            reached = job.progress.done + chance.randrange(stride)
            try:
                await self._until_beyond(job_id, reached)
                await asyncio.sleep(chance.uniform(0, pause_s))
            finally:
                process.kill()
                await process.wait()
            kills += 1
        return job, kills

    async def _until_beyond(self, job_id: int, reached: int) -> None:
        async def far_enough() -> bool:
            now = await self.job(job_id)
            return now.progress.done > reached or now.finished_at is not None

        await until(far_enough)

    async def until_done(self, job_id: int, most: int) -> None:
        """Until so many bytes of the job's are in."""

        async def there() -> bool:
            return (await self.job(job_id)).progress.done >= most

        await until(there)

    async def kept_files(self) -> int:
        async with self.db.system() as tx:
            return await tx.fetchval("SELECT count(*) FROM import_file")

    async def imports(self) -> list[dict[str, Any]]:
        """Those of the organisation, with how many rejects are kept of each; by time."""
        async with self.db.tenant(self.org_id) as tx:
            found = await tx.fetch(
                """SELECT *, (SELECT count(*) FROM import_reject j
                              WHERE j.org_id = r.org_id AND j.import_id = r.import_id) AS kept
                   FROM import_run r ORDER BY started_at, import_id"""
            )
        return [dict(row) for row in found]

    async def state(self) -> tuple[Any, Any, Any]:
        """What imports decide: calls, rejects, and the counts of each import."""
        async with self.db.tenant(self.org_id) as tx:
            rejects = await tx.fetch(
                "SELECT line, field, value, problem, raw FROM import_reject ORDER BY line, field, raw"
            )
        names = ("source", "inserted", "updated", "unchanged", "duplicates", "rejected", "error")
        counts = [tuple(one[name] for name in names) for one in await self.imports()]
        return await rows(self.db, self.org_id), [tuple(row.values()) for row in rejects], counts


def mixed(count: int, start: int = 0) -> Iterator[dict[str, Any]]:
    """Calls, a hundredth of them wrong, some twice, some with what was said."""
    for number in range(start, start + count):
        one = call(callid=f"call-{number:06d}", rounds=number % 7)
        if number % 100 == 17:
            one["duration_ms"] = "long"
        if number % 50 == 3:
            one["turns"] = TURNS
        yield one
        if number % 90 == 5:
            yield {**one, "rounds": 9}


def csv_file(count: int, start: int = 0) -> bytes:
    return as_csv(mixed(count, start))


def jsonl_file(count: int, start: int = 0) -> bytes:
    return as_jsonl(mixed(count, start))


async def _main(url: str, folder: str) -> None:
    db = Postgres(url, pool_size=8)
    async with pooled_analyzer(1) as analyzer:
        work = make_work(analyzer, Path(folder))
        registry = CollectorRegistry()
        await Worker(db, work, JOBS, service="enrichment", registry=registry, pace=QUICK).run()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
