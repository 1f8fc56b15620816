"""How fast a dialler's calls come in from MariaDB, beside a dump and COPY of the same rows.

Keys: calls_per_s (of calls, half of the connected ones with a transcript, from the first query to the
last commit, by the job as it runs), ratio_dump_copy (that to the rate of selecting the same rows and
COPYing them into tables with the same indexes), xlsx_rows_per_s. The server is the MariaDB at
TEST_MYSQL_URL (mysql://root@127.0.0.1:3306), in a database that is dropped afterwards.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncmy
import asyncpg
from asyncmy.cursors import SSCursor
from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis.chain.first_look import FirstLook
from ai_services.enrichment.analysis.chain.metrics import ChainMetrics
from ai_services.enrichment.analysis.chain.opening import Chain
from ai_services.enrichment.analysis.metrics import AnalysisMetrics
from ai_services.enrichment.analysis.pending import pooled_analyzer
from ai_services.enrichment.counts import OrganisationCounts
from ai_services.enrichment.sources.connected import Connected
from ai_services.enrichment.sources.job import SYNC_SOURCE
from ai_services.enrichment.sources.metrics import SourceMetrics
from ai_services.enrichment.sources.sources_file import parse_sources
from ai_services.enrichment.work import Work
from shared.data_access.access import StoreUrls, UnifiedDataAccess, open_data_access
from shared.embedded.stores import EmbeddedStores
from shared.jobs.enqueue import enqueue
from shared.jobs.store import jobs
from shared.jobs.worker import Worker
from shared.telemetry.metrics import Metrics

KEY: Final = b"k" * 64
MONTHS: Final = ("2024_11", "2024_12")
_CALLS: Final = """CREATE TABLE autodialer_call_record_{month} (
    callid varchar(64) NOT NULL PRIMARY KEY, task_id varchar(64), agent_id varchar(64),
    user_id varchar(64) NOT NULL,
    callee varchar(20), calldate datetime NOT NULL, duration int NOT NULL, bill int NOT NULL,
    rounds int, level_name varchar(8), call_status varchar(16) NOT NULL, hangup_disposition int,
    KEY (calldate)) DEFAULT CHARSET utf8mb4"""
_DETAILS: Final = """CREATE TABLE autodialer_call_record_detail_{month} (
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    callid varchar(64) NOT NULL, text mediumtext, KEY (callid)) DEFAULT CHARSET utf8mb4"""
# By the sequence engine: three million calls in a minute.
_FILL_CALLS: Final = """INSERT INTO autodialer_call_record_{month}
    SELECT concat('{month}-', lpad(seq, 9, '0')), concat('task-', seq % 50),
           concat('agent-', seq % 200), concat('acct-', seq % 20), concat('138', lpad(crc32(seq) % 100000000, 8, '0')),
           '2024-12-01' + INTERVAL (crc32(seq + 7) % 2592000) SECOND,
           if(seq % 2, 2000 + crc32(seq) % 90000, 0), if(seq % 2, 2000 + crc32(seq) % 90000, 0),
           if(seq % 2, seq % 9, 0), if(seq % 2, elt(1 + seq % 6, 'A', 'B', 'C', 'D', 'E', 'F'), NULL),
           if(seq % 2, 'connected', elt(1 + seq % 4, 'busy', 'no_answer', 'power_off', 'rejected')),
           if(seq % 2, 1 + seq % 2, NULL)
    FROM seq_1_to_{count}"""
_FILL_DETAILS: Final = """INSERT INTO autodialer_call_record_detail_{month} (callid, text)
    SELECT callid, concat('机器人：您好，我这边是客服中心，请问是', user_id, '吗？\n客户：是的，你说。\n',
        '机器人：我们这边有一个新的活动，想了解一下您是否有兴趣？\n客户：好的，我考虑一下，谢谢。')
    FROM autodialer_call_record_{month} WHERE call_status = 'connected' AND rounds % 2"""


class Dialler:
    """A database of MariaDB's with monthly tables."""

    def __init__(self, server: str, name: str) -> None:
        at = urlsplit(server)
        self.host, self.port = at.hostname or "127.0.0.1", at.port or 3306
        self.user, self.password = at.username or "root", at.password or ""
        self.name = name

    async def connected(self, database: str | None) -> Any:
        return await asyncmy.connect(
            host=self.host, port=self.port, user=self.user, password=self.password,
            database=database, charset="utf8mb4", autocommit=True,
        )  # fmt: skip

    async def run(self, *queries: str, database: bool = True) -> None:
        driver = await self.connected(self.name if database else None)
        try:
            async with driver.cursor() as cursor:
                for query in queries:
                    await cursor.execute(query)
        finally:
            await driver.ensure_closed()

    async def fill(self, calls: int, months: Sequence[str] = MONTHS) -> None:
        """As many to each month's tables, all of them of December."""
        for month in months:
            shape = {"month": month, "count": calls // len(months)}
            queries = (_CALLS, _DETAILS, _FILL_CALLS, _FILL_DETAILS)
            await self.run(*(query.format(**shape) for query in queries))


@asynccontextmanager
async def dialler(calls: int, months: Sequence[str] = MONTHS) -> AsyncIterator[Dialler]:
    server = os.environ.get("TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306")
    made = Dialler(server, f"looma_bench_{uuid4().hex[:12]}")
    await made.run(f"CREATE DATABASE {made.name}", database=False)
    try:
        await made.fill(calls, months)
        yield made
    finally:
        await made.run(f"DROP DATABASE {made.name}", database=False)


async def sync_rate(data: UnifiedDataAccess, source: Dialler, calls: int) -> float:
    """Calls/s of `sync_source`, into an organisation that has none yet."""
    slug = f"bench-{uuid4().hex[:12]}"
    async with data.relational.system() as tx:
        org_id: UUID = await tx.fetchval(
            "INSERT INTO organisation (slug, name) VALUES ($1, $1) RETURNING org_id", slug
        )
    text = f"""[dialler]
organisation = "{slug}"
kind = "autodialer"
url = "mysql://{source.user}@{source.host}:{source.port}/{source.name}"
password = "BENCH"
tls = "off"
timezone = "Asia/Shanghai"
"""
    metrics = Metrics("enrichment", 50)
    counts = OrganisationCounts(metrics)
    connected = Connected(
        SourceMetrics(metrics.registry), parse_sources(text, {"BENCH": source.password})
    )
    async with pooled_analyzer(1) as analyzer:
        analyses = AnalysisMetrics(analyzer.name, counts, metrics.registry)
        chain = Chain(FirstLook(), None, ChainMetrics(metrics.registry))
        work = Work(KEY, analyzer, chain, analyses, counts, connected=connected)
        worker = Worker(
            data.relational,
            work,
            (SYNC_SOURCE,),
            service="enrichment",
            registry=CollectorRegistry(),
        )
        running = asyncio.create_task(worker.run())
        started = time.perf_counter()
        async with data.relational.tenant(org_id) as tx:
            asked = await enqueue(tx, SYNC_SOURCE, {"source": "dialler"}, org_id=org_id)
        job = await _ended(data, asked.job_id)
        seconds = time.perf_counter() - started
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    result = job.result or {}
    if result.get("inserted") != calls:
        raise RuntimeError(f"the calls did not come in: {job.state}, {job.error}, {result}")
    return calls / seconds


async def _ended(data: UnifiedDataAccess, job_id: int) -> Any:
    while True:
        async with data.relational.system() as tx:
            job = await jobs.get_job(tx, job_id)
        if job.finished_at is not None or job.failures:
            return job
        await asyncio.sleep(0.05)


async def dump_copy_rate(database_url: str, source: Dialler, calls: int) -> float:
    """Calls/s of a plain cursor and COPY: calls into a twin of their table with its indexes, what
    was said into one by callid.
    """
    target = await asyncpg.connect(database_url)
    await target.execute("CREATE TABLE dumped (LIKE call_record_enriched INCLUDING ALL)")
    await target.execute("CREATE TABLE dumped_said (callid text, said text)")
    await target.execute("CREATE INDEX ON dumped_said (callid)")
    columns = ["org_id", "callid", "task_id", "agent_id", "user_id", "phone_masked", "started_at", "call_date",
               "duration_ms", "bill_ms", "rounds", "level_name", "call_status", "hangup_by"]  # fmt: skip
    org_id = uuid4()
    started = time.perf_counter()
    try:
        for month in MONTHS:
            names = f"'{org_id}', callid, task_id, agent_id, user_id, callee, calldate, date(calldate), duration, bill, rounds, level_name, call_status, hangup_disposition"
            await _copied(source, target, f"SELECT {names} FROM autodialer_call_record_{month}", "dumped", columns)  # fmt: skip
            await _copied(source, target, f"SELECT callid, text FROM autodialer_call_record_detail_{month}", "dumped_said", ["callid", "said"])  # fmt: skip
        rows = await target.fetchval("SELECT count(*) FROM dumped")
        seconds = time.perf_counter() - started
        if rows != calls:
            raise RuntimeError(f"{rows} of {calls} rows were copied")
        return calls / seconds
    finally:
        await target.execute("DROP TABLE dumped, dumped_said")
        await target.close()


async def _copied(
    source: Dialler, target: asyncpg.Connection, query: str, table: str, columns: list[str]
) -> None:
    driver = await source.connected(source.name)
    try:
        async with driver.cursor(cursor=SSCursor) as cursor:
            await cursor.execute(query)
            while rows := await cursor.fetchmany(20_000):
                text = io.StringIO()
                csv.writer(text).writerows(rows)
                block = io.BytesIO(text.getvalue().encode())
                await target.copy_to_table(table, source=block, columns=columns, format="csv")
    finally:
        await driver.ensure_closed()


async def _clear(database_url: str) -> None:
    """Empty tables, so that each run starts alike."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "TRUNCATE call_record_enriched, call_transcript, source_call, source_shard, source_sync, outbox CASCADE"
    )
    await connection.close()


async def run(*, quick: bool) -> dict[str, Any]:
    calls, rounds = (40_000, 1) if quick else (400_000, 3)
    syncs, dumps = [], []
    with tempfile.TemporaryDirectory(prefix="looma-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the embedded PostgreSQL runs as a user of its own
        stores = EmbeddedStores(folder / "stores", which=frozenset({"postgres"}))
        endpoints = await stores.start()
        urls = StoreUrls(
            endpoints.database_url, endpoints.graph_url, None, None, endpoints.redis_url
        )
        try:
            async with (
                dialler(calls) as source,
                open_data_access(urls, ports={"relational"}, pool_size=8) as data,
            ):
                for _ in range(rounds):
                    syncs.append(await sync_rate(data, source, calls))
                    await _clear(endpoints.database_url)
                    dumps.append(await dump_copy_rate(endpoints.database_url, source, calls))
        finally:
            await stores.stop()
    ratio = statistics.median(syncs) / statistics.median(dumps)
    return {
        "calls": calls,
        "calls_per_s": round(statistics.median(syncs)),
        "dump_copy_calls_per_s": round(statistics.median(dumps)),
        "ratio_dump_copy": round(ratio, 3),
        "xlsx_rows_per_s": None,  # of the reader of workbooks, once there is one
    }
