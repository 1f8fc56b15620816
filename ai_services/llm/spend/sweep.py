"""Charges attempts that nobody settled: their process was killed, or lost the store for too long.

Any replica may sweep, all of them at once. An attempt whose lease is over is charged by its worst
case, with the outcome `unknown`; a settlement that still comes corrects it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog

from ai_services.llm.spend import ledger_store
from shared.data_access.ports import Relational
from shared.errors import StoreError

_BATCH: Final = 500
_log = structlog.get_logger("looma.ledger")


async def sweep(relational: Relational) -> int:
    """Charge all attempts whose lease is over now; returns how many those were.

    Where that fails for one organisation the others are swept all the same.
    """
    async with relational.system() as tx:
        organisations = await ledger_store.organisations_to_sweep(tx)
    swept = 0
    for org_id in organisations:
        try:
            swept += await _sweep_organisation(relational, org_id)
        except StoreError as error:
            _log.warning("the sweep is put off", org_id=str(org_id), reason=error.message)
    return swept


async def _sweep_organisation(relational: Relational, org_id: UUID) -> int:
    swept = 0
    while True:
        async with ledger_store.writing(relational, org_id) as tx:
            found = await ledger_store.sweep(tx, org_id, _BATCH)
        swept += found
        if found < _BATCH:
            return swept


async def keep_sweeping(
    relational: Relational, *, every_s: float = 5.0, swept: Callable[[int], None] = lambda _: None
) -> None:
    """Sweep until cancelled; `swept` gets how many attempts each sweep has charged."""
    while True:
        found = await sweep(relational)
        swept(found)
        if found:
            _log.warning("attempts without a settlement are charged", attempts=found)
        await asyncio.sleep(every_s)
