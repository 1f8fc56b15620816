"""Exporting all snapshots of a period: the use case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ai_services.portrait import store
from ai_services.portrait.dimension import Dimension
from ai_services.portrait.exporting.columns import values
from ai_services.portrait.exporting.store import snapshots
from ai_services.portrait.exporting.writers import Format, writer
from ai_services.portrait.period import Period, PeriodType, parse
from shared.data_access.ports import Relational
from shared.errors import NotFound

BATCH: Final = 2_000  # rows in memory


@dataclass(frozen=True, slots=True)
class Export:
    """`parts` are the file's, and begin to be read with the first."""

    name: str
    parts: AsyncGenerator[bytes, None]


async def export(
    relational: Relational,
    org_id: UUID,
    dimension: Dimension,
    period_type: PeriodType,
    period_key: str | None,
    form: Format,
    turns: asyncio.Semaphore,
) -> Export:
    """Of the organisation's newest period with calls, or the one named. NotFound where none is."""
    if period_key is None:
        async with relational.tenant(org_id, readonly=True) as tx:
            known = await store.summarised_range(tx, org_id, period_type)
        if known is None:
            raise NotFound(f"No {period_type} with calls has been computed yet.")
        period_key = known[1]
    period = parse(period_type, period_key)
    name = f"portraits-of-{dimension.plural}-{period.key}.{form}"
    return Export(name, _parts(relational, org_id, dimension, period, form, turns))


async def _parts(
    relational: Relational,
    org_id: UUID,
    dimension: Dimension,
    period: Period,
    form: Format,
    turns: asyncio.Semaphore,
) -> AsyncGenerator[bytes, None]:
    """One transaction, so one state, by a cursor of the server's."""
    async with turns, relational.tenant(org_id, readonly=True) as tx:
        file = await asyncio.to_thread(writer, form, dimension.column)
        try:
            async for batch in snapshots(tx, org_id, dimension, period, BATCH):
                rows = [values(row, dimension.column) for row in batch]
                if part := await asyncio.to_thread(file.rows, rows):
                    yield part
            end = file.end()
            while part := await asyncio.to_thread(next, end, b""):
                yield part
        finally:
            await asyncio.to_thread(file.close)
