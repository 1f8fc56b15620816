"""Analysing the transcripts that wait: a batch is claimed, judged in worker processes, saved.

No transaction is open while a batch is judged, however long that takes. Its claim is renewed
meanwhile; that of a process that was killed ends with its lease, and others go on with the calls.
Whoever comes back after that saves nothing: the claim's number is no longer there. Several
replicas and a command line work side by side.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from uuid import UUID

import structlog

from ai_services.enrichment.analysis import store
from ai_services.enrichment.analysis.chain import store as insights
from ai_services.enrichment.analysis.chain.first_look import FirstLook
from ai_services.enrichment.analysis.chain.judged import Judged
from ai_services.enrichment.analysis.leases import LEASE_S, leased
from ai_services.enrichment.analysis.local import Analysis, Analyzer, LocalAnalyzer, Turn
from ai_services.enrichment.analysis.rows import columns, to_turns
from ai_services.enrichment.analysis.saving import saved_analyses
from ai_services.enrichment.analysis.store import Claim
from shared.data_access.ports import Relational, Transaction
from shared.errors import InternalError
from shared.telemetry.spans import work

BATCH: Final = 500
_SMALL: Final = 20  # below this a worker process costs more than it saves

# Why an analysis is not saved: another worker has claimed the call, or its transcript is a new one.
Discarded = Literal["taken_over", "corrected"]
Saving = Callable[[Transaction, int], Awaitable[None]]
_LOCAL_ONLY: Final = FirstLook()
_log = structlog.get_logger("looma.analysis")


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


class PooledAnalyzer:
    """The local analyser off the event loop: small batches in a thread, large ones in processes.

    The vocabulary takes a second to compile, so nothing is made before it is needed:
    worker processes start with the first large batch and end with `close`.
    """

    name = LocalAnalyzer.name

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._local: LocalAnalyzer | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._asked = 0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for what it is asked."""
        return self._asked > 0

    async def analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
        self._asked += 1
        try:
            return await self._analyze(transcripts)
        finally:
            self._asked -= 1

    async def _analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
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
    on_progress: Callable[[int], None] = _ignore,
    on_discarded: Callable[[Discarded, int], None] = _ignore,
    *,
    lease: float = LEASE_S,
    first: FirstLook = _LOCAL_ONLY,
) -> int:
    """Analyse until nothing that is not claimed elsewhere waits; returns how many were saved.

    `on_progress` is told of each batch how many were saved, `on_discarded` how many were not;
    `first` says whose verdict holds.
    """
    total = 0
    while (
        saved := await analyse_batch(
            relational, org_id, analyzer, on_discarded, lease=lease, first=first
        )
    ) is not None:
        total += saved
        on_progress(saved)
    return total


async def analyse_batch(
    relational: Relational,
    org_id: UUID,
    analyzer: Analyzer,
    on_discarded: Callable[[Discarded, int], None] = _ignore,
    *,
    lease: float = LEASE_S,
    saving: Saving | None = None,
    first: FirstLook = _LOCAL_ONLY,
) -> int | None:
    """One claimed batch: how many analyses were saved, None when no call is free.

    `saving` is given that number in the transaction that saves them, which it may refuse.
    """
    async with relational.tenant(org_id) as tx:
        claim = await store.claim(tx, org_id, BATCH, lease)
    if claim is None:
        return None
    if claim.over:
        _log.info("analysis_taken_over", org_id=str(org_id), claim=claim.number, over=claim.over)
    with work("analysis", {"looma.calls": len(claim.calls)}):
        async with leased(relational, org_id, claim.number, lease):
            transcripts = [to_turns(call["turns"]) for call in claim.calls]
            analyses = await analyzer.analyze(transcripts)
            judged, rows = await first.look(relational, org_id, claim.calls, transcripts, analyses)
            saved = await _save(relational, org_id, claim, judged, rows, saving)
    first.saved(saved or ())
    discarded = len(claim.calls) - len(saved or ())
    if discarded:
        reason: Discarded = "taken_over" if saved is None else "corrected"
        _log.warning(
            "analyses_discarded",
            org_id=str(org_id),
            claim=claim.number,
            reason=reason,
            calls=discarded,
        )
        on_discarded(reason, discarded)
    return len(saved or ())


async def _save(
    relational: Relational,
    org_id: UUID,
    claim: Claim,
    judged: Sequence[Judged],
    insight_rows: Sequence[tuple[Any, ...]],
    saving: Saving | None,
) -> list[Judged] | None:
    """Save what still is an analysis of its call's transcript; None if the claim is over."""
    async with relational.tenant(org_id) as tx:
        if not await store.end_claim(tx, org_id, claim.number):
            return None
        rows = [
            (call["callid"], call["version"], *columns(one.analysis))
            for call, one in zip(claim.calls, judged, strict=True)
        ]
        saved = await store.save_analyses(tx, org_id, rows)
        current = set(saved)
        await insights.save_insights(tx, [row for row in insight_rows if row[1] in current])
        await saved_analyses(tx, org_id, saved)
        if saving is not None:
            await saving(tx, len(saved))
    return [one for call, one in zip(claim.calls, judged, strict=True) if call["callid"] in current]
