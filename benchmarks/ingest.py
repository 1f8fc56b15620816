"""How fast calls come in, beside a raw COPY of the same rows into the same table.

Keys: calls_per_s, calls_per_s_transcripts, ratio_copy, star_seconds,
analyzer_per_s, ready_seconds, idle_rss_mb. `ratio_copy` is import / COPY with the table's
indexes and constraints, medians of alternating runs on one server; `idle_rss_mb` is the sum of
RSS over every process of the platform (shared pages counted in each), `idle_pss_mb` counts
them once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from ai_services.enrichment.analysis.local import LocalAnalyzer
from ai_services.enrichment.analysis.rows import to_turns
from ai_services.enrichment.importing import import_batches
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import read_calls
from ai_services.enrichment.staging import stage
from ai_services.enrichment.store import STAGING_COLUMNS
from benchmarks.edge.host import free_port
from benchmarks.platform import Platform
from looma_cli.work.demo.generate import generate_calls
from shared.data_access.access import StoreUrls, UnifiedDataAccess, open_data_access
from shared.embedded.stores import EmbeddedStores

END = dt.date(2025, 12, 31)
KEY = b"k" * 64


def data_folder() -> Path:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("LOOMA_TEST_DATA", default))


def generated(folder: Path, calls: int, transcripts: float) -> Path:
    path = folder / f"calls-{calls}-{transcripts:g}.jsonl"
    with path.open("wb") as file:
        for block in generate_calls(calls, 7, end=END, transcripts=transcripts):
            file.write(block)
    return path


async def fresh_organisation(data: UnifiedDataAccess) -> UUID:
    async with data.relational.system() as tx:
        org_id: UUID = await tx.fetchval(
            "INSERT INTO organisation (slug, name) VALUES ($1, $1) RETURNING org_id",
            f"bench-{uuid4().hex[:12]}",
        )
    return org_id


async def clear(database_url: str) -> None:
    """Empty tables, so that each run starts alike."""
    import asyncpg

    connection = await asyncpg.connect(database_url)
    await connection.execute("TRUNCATE call_record_enriched, call_transcript, outbox")
    await connection.close()


async def import_rate(data: UnifiedDataAccess, path: Path) -> float:
    """Calls/s from the open file to the last commit, into an organisation that has none yet."""
    org_id = await fresh_organisation(data)
    started = time.perf_counter()
    counts = await import_batches(
        data.relational,
        org_id,
        PhoneCipher(KEY, org_id),
        read_calls(path, load_preset("calls")),
        source=path.name,
        preset="calls",
    )
    seconds = time.perf_counter() - started
    if counts.rejected or not counts.inserted:
        raise RuntimeError(f"the generated file did not go in: {counts}")
    return counts.inserted / seconds


async def copy_rate(database_url: str, path: Path) -> float:
    """Rows/s of COPY alone: the same rows, ready in memory, into the table's twin with its indexes."""
    import asyncpg

    org_id = uuid4()
    columns = [c for c in STAGING_COLUMNS if c != "turns"]
    blocks = [_table_rows(block, org_id) for block in _staged(path)]
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "CREATE TABLE copy_target (LIKE call_record_enriched INCLUDING ALL)"
        )
        started = time.perf_counter()
        rows = 0
        for block in blocks:
            status = await connection.copy_to_table(
                "copy_target",
                source=block,
                columns=["org_id", "call_date", *columns],
                format="csv",
            )
            rows += int(status.split()[-1])
        return rows / (time.perf_counter() - started)
    finally:
        await connection.execute("DROP TABLE IF EXISTS copy_target")
        await connection.close()


def _staged(path: Path) -> Iterator[bytes]:
    cipher = PhoneCipher(KEY, uuid4())
    for batch in read_calls(path, load_preset("calls")):
        yield stage(batch.frame.with_columns(turns=None), cipher)


def _table_rows(block: bytes, org_id: UUID) -> Any:
    import io

    import polars as pl

    frame = pl.read_csv(
        block, has_header=False, new_columns=list(STAGING_COLUMNS), infer_schema=False
    )
    frame = frame.drop("turns")
    frame = frame.insert_column(0, frame["started_at"].str.slice(0, 10).alias("call_date"))
    frame = frame.insert_column(0, pl.Series("org_id", [str(org_id)] * frame.height))
    return io.BytesIO(frame.write_csv(include_header=False).encode())


def analyzer_rate(star: Path) -> float:
    """Transcripts/s of the local analyser on one core, over the STAR dialogues."""
    analyzer = LocalAnalyzer()
    with gzip.open(star) as file:
        dialogues = [msgspec.json.decode(line) for line in file]
    transcripts = [
        to_turns([t for t in d["turns"] if t["role"] != "agent_api"])
        for d in dialogues
        if d["turns"]
    ]
    started = time.process_time()
    for turns in transcripts:
        analyzer.analyze_turns(turns)
    return len(transcripts) / (time.process_time() - started)


def star_seconds(platform: Platform, star: Path) -> float:
    """From the file to every portrait type answered by the gateway."""
    started = time.perf_counter()
    platform.looma("import", str(star), "--preset", "star")
    platform.looma("compute")
    token = platform.looma("token", "--role", "analyst")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=platform.url, headers=headers, timeout=30) as client:
        periods = client.get("/api/v1/periods?type=month&limit=12").json()["data"]["periods"]
        key = periods[-1]["key"]
        summary = client.get(f"/api/v1/portrait/summary?period_type=month&period_key={key}")
        summary.raise_for_status()
    return time.perf_counter() - started


async def rates(folder: Path, calls: int, rounds: int) -> dict[str, float]:
    stores = EmbeddedStores(folder / "stores", which=frozenset({"postgres"}))
    endpoints = await stores.start()
    urls = StoreUrls(endpoints.database_url, endpoints.graph_url, None, None, endpoints.redis_url)
    plain = generated(folder, calls, 0.0)
    spoken = generated(folder, max(calls // 4, 1000), 1.0)
    imports, copies, with_turns = [], [], []
    try:
        async with open_data_access(urls, ports={"relational"}, pool_size=4) as data:
            for _ in range(rounds):
                imports.append(await import_rate(data, plain))
                await clear(endpoints.database_url)
                copies.append(await copy_rate(endpoints.database_url, plain))
                with_turns.append(await import_rate(data, spoken))
                await clear(endpoints.database_url)
    finally:
        await stores.stop()
    return {
        "calls_per_s": round(statistics.median(imports)),
        "calls_per_s_transcripts": round(statistics.median(with_turns)),
        "copy_rows_per_s": round(statistics.median(copies)),
        "ratio_copy": round(statistics.median(imports) / statistics.median(copies), 3),
    }


def platform_figures(folder: Path, star: Path) -> dict[str, float]:
    platform = Platform(folder / "home", free_port())
    try:
        first = platform.up()
        seconds = star_seconds(platform, star)
        platform.down()
        ready = platform.up()
        time.sleep(15)
        rss, pss = platform.memory()
    finally:
        platform.down()
    return {
        "star_seconds": round(seconds, 2),
        "first_ready_seconds": round(first, 2),
        "ready_seconds": round(ready, 2),
        "idle_rss_mb": round(rss),
        "idle_pss_mb": round(pss),
    }


def run(*, quick: bool) -> dict[str, Any]:
    calls, rounds = (50_000, 1) if quick else (500_000, 3)
    star = data_folder() / "star_dialogues" / "star.jsonl.gz"
    with tempfile.TemporaryDirectory(prefix="looma-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the embedded PostgreSQL runs as a user of its own
        figures: dict[str, Any] = {"calls": calls, **asyncio.run(rates(folder, calls, rounds))}
        figures["analyzer_per_s"] = round(analyzer_rate(star))
        copy = folder / star.name  # rejected rows are written beside the file
        shutil.copyfile(star, copy)
        figures.update(platform_figures(folder, copy))
    return figures
