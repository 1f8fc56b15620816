"""Analysing what waits, with a bar; the enrichment service may help at the same time."""

from __future__ import annotations

import asyncio
from uuid import UUID

from ai_services.enrichment.analysis import store
from ai_services.enrichment.analysis.pending import analyse_pending, pooled_analyzer
from looma_cli.terminal.console import bar
from shared.config import Config
from shared.data_access.ports import Relational

_POLL_S = 0.2


async def analyse(config: Config, relational: Relational, org_id: UUID) -> int:
    """Wait until every transcript is analysed, doing what nobody else has claimed; how many waited."""
    waiting = await _waiting(relational, org_id)
    if not waiting:
        return 0
    with bar("Analysing transcripts", waiting, "transcripts") as progress:
        async with pooled_analyzer(config.analysis_workers) as analyzer:
            while left := await _waiting(relational, org_id):
                progress.to(max(waiting - left, 0))
                if not await analyse_pending(relational, org_id, analyzer, progress.advance):
                    await asyncio.sleep(_POLL_S)  # the rest is claimed by the service
        progress.to(waiting)
    return waiting


async def _waiting(relational: Relational, org_id: UUID) -> int:
    async with relational.tenant(org_id, readonly=True) as tx:
        return await store.count_unanalysed(tx, org_id)
