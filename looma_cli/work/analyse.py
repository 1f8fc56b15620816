"""Analysing what waits, with a bar; the enrichment service may help at the same time.

`analyse` gives each transcript a verdict at once: kept, or of its words alone. What is left to a model
then is judged by the service, or here by `judge_by_models`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from uuid import UUID

from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis import store
from ai_services.enrichment.analysis.chain import store as insights
from ai_services.enrichment.analysis.chain.opening import first_look, open_chain
from ai_services.enrichment.analysis.pending import analyse_pending, pooled_analyzer
from looma_cli.terminal.console import bar
from shared.config import Config
from shared.data_access.access import UnifiedDataAccess
from shared.data_access.ports import Relational, Transaction

_POLL_S = 0.2


async def analyse(config: Config, relational: Relational, org_id: UUID) -> int:
    """Wait until every transcript is analysed, doing what nobody else has claimed; how many waited."""
    waiting = await _waiting(relational, org_id)
    if not waiting:
        return 0
    with bar("Analysing transcripts", waiting, "transcripts") as progress:
        first = first_look(config)
        async with pooled_analyzer(config.analysis_workers) as analyzer:
            while left := await _waiting(relational, org_id):
                progress.to(max(waiting - left, 0))
                if not await analyse_pending(
                    relational, org_id, analyzer, progress.advance, first=first
                ):
                    await asyncio.sleep(_POLL_S)  # the rest is claimed by the service
        progress.to(waiting)
    return waiting


@dataclass(frozen=True, slots=True)
class Shares:
    """How many calls each step of the chain has judged; what waits for a model, and dead letters.

    `by_model` are verdicts of this run; `why`: what kept it from going on.
    """

    steps: dict[str, int]
    waiting: int
    dead: int
    by_model: int = 0
    why: str | None = None


async def judge_by_models(config: Config, data: UnifiedDataAccess, org_id: UUID) -> Shares:
    """Until no call waits for a model, or none can be asked; needs a llm service that is up."""
    by_model, why = 0, None
    async with AsyncExitStack() as stack:
        registry = CollectorRegistry()
        chain = await open_chain(config, data.relational, data.cache, registry, stack)
        waiting = (await shares(data.relational, org_id)).waiting
        if chain.models is not None and waiting:
            with bar("Asking models", waiting, "transcripts") as progress:

                async def saving(_tx: Transaction, calls: int) -> None:
                    progress.advance(calls)

                passed = await chain.models.run(org_id, saving=saving)
            by_model, why = passed.saved, None if passed.away is None else passed.away.message
    return replace(await shares(data.relational, org_id), by_model=by_model, why=why)


async def shares(relational: Relational, org_id: UUID) -> Shares:
    async with relational.tenant(org_id, readonly=True) as tx:
        steps = await insights.shares(tx, org_id)
        return Shares(steps, await insights.count_waiting(tx), await insights.count_dead(tx))


async def _waiting(relational: Relational, org_id: UUID) -> int:
    async with relational.tenant(org_id, readonly=True) as tx:
        return await store.count_unanalysed(tx, org_id)
