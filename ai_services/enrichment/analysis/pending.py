"""Analysing the transcripts that wait: claimed in batches, judged in worker processes, saved.

A batch is claimed, analysed and saved in one transaction with SKIP LOCKED: several replicas
and a command line work side by side, and a killed one's batch is free again at once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment import store
from ai_services.enrichment.analysis.local import Analysis, Analyzer, LocalAnalyzer, Turn
from ai_services.enrichment.events import announce_analyses
from shared.data_access.ports import Relational
from shared.errors import InternalError

BATCH: Final = 500
_SMALL: Final = 20  # below this a worker process costs more than it saves


class PooledAnalyzer:
    """The local analyser off the event loop: small batches in a thread, large ones in processes.

    The vocabulary takes most of a second to compile, so nothing is made before it is needed:
    worker processes start with the first large batch and end with `close`.
    """

    name = LocalAnalyzer.name

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._local: LocalAnalyzer | None = None
        self._pool: ProcessPoolExecutor | None = None

    async def analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
        if len(transcripts) < _SMALL:
            if self._local is None:
                self._local = await asyncio.to_thread(LocalAnalyzer)
            return await self._local.analyze(transcripts)
        if self._pool is None:
            # Spawned, not forked: a fork would copy the event loop's sockets and locks.
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
            )
        share = -(-len(transcripts) // self._workers)
        parts = [transcripts[i : i + share] for i in range(0, len(transcripts), share)]
        loop = asyncio.get_running_loop()
        try:
            results = await asyncio.gather(
                *(loop.run_in_executor(self._pool, _judge, part) for part in parts)
            )
        except BrokenExecutor as error:
            await self.close()
            raise InternalError("A worker that analyses transcripts was killed.") from error
        return [analysis for part in results for analysis in part]

    async def close(self) -> None:
        """End the workers; they start again when needed."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)


_worker: list[LocalAnalyzer] = []  # the one analyser of a worker process, made by its initializer


def _start_worker() -> None:
    _worker.append(LocalAnalyzer())


def _judge(transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
    return [_worker[0].analyze_turns(turns) for turns in transcripts]


@asynccontextmanager
async def pooled_analyzer(workers: int) -> AsyncIterator[PooledAnalyzer]:
    analyzer = PooledAnalyzer(workers)
    try:
        yield analyzer
    finally:
        await analyzer.close()


async def analyse_pending(
    relational: Relational,
    org_id: UUID,
    analyzer: Analyzer,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> int:
    """Analyse until nothing that is not claimed elsewhere waits; returns how many were analysed."""
    total = 0
    while done := await analyse_batch(relational, org_id, analyzer):
        total += done
        on_progress(done)
    return total


async def analyse_batch(relational: Relational, org_id: UUID, analyzer: Analyzer) -> int:
    """One claimed batch; 0 when none is free."""
    async with relational.tenant(org_id) as tx:
        rows = await store.claim_unanalysed(tx, org_id, BATCH)
        if not rows:
            return 0
        analyses = await analyzer.analyze([to_turns(row["turns"]) for row in rows])
        saved = await store.save_analyses(
            tx,
            org_id,
            [
                (row["callid"], *_columns(analysis))
                for row, analysis in zip(rows, analyses, strict=True)
            ],
        )
        await announce_analyses(tx, org_id, saved)
    return len(saved)


def to_turns(turns: Sequence[dict[str, Any]]) -> list[Turn]:
    return [Turn(turn["role"], turn.get("at_ms"), turn["text"]) for turn in turns]


def _columns(a: Analysis) -> tuple[Any, ...]:
    return (a.sentiment, a.sentiment_score, a.complaint_risk, a.churn_risk, a.reason, a.analyzer)
