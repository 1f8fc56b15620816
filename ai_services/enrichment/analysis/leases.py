"""Keeping a claim while its calls are judged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import structlog

from ai_services.enrichment.analysis import store
from shared.data_access.ports import Relational
from shared.errors import LoomaError
from shared.serving.background import end

LEASE_S: Final = 30.0  # so long after a process was killed, others go on with its batch
_RENEWALS: Final = 3  # in a lease: two may fail
_log = structlog.get_logger("looma.analysis")


@asynccontextmanager
async def leased(
    relational: Relational, org_id: UUID, number: int, lease: float
) -> AsyncIterator[None]:
    """Renew the claim while the block works; give it back at once if the block fails."""
    renewing = asyncio.create_task(_keep_renewing(relational, org_id, number, lease))
    try:
        yield
    except BaseException:
        await _give_back(relational, org_id, number)
        raise
    finally:
        await end([renewing])


async def _keep_renewing(relational: Relational, org_id: UUID, number: int, lease: float) -> None:
    kept = True
    while kept:
        await asyncio.sleep(lease / _RENEWALS)
        try:
            async with relational.tenant(org_id) as tx:
                kept = await store.renew_claim(tx, org_id, number, lease)
        except LoomaError as error:  # the lease goes on for a while; the next may go through
            _log.warning("analysis_claim_not_renewed", claim=number, text=error.message)


async def _give_back(relational: Relational, org_id: UUID, number: int) -> None:
    try:
        async with relational.tenant(org_id) as tx:
            await store.end_claim(tx, org_id, number)
    except LoomaError as error:  # what made the block fail is raised; the lease ends by itself
        _log.warning("analysis_claim_not_given_back", claim=number, text=error.message)
