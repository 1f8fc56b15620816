"""A computation in parts, each in a process of its own, here or on a Ray cluster.

A part is what one transaction of any computation does: the periods of a type that begin in one quarter. Parts
share the organisation's turn, so that they are under way together while nothing is counted. One
that is done twice writes nothing the second time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from ai_services.portrait.computing.computation import (
    EVERYTHING,
    Computed,
    Unbroken,
    compute_part,
    planned,
    quarters,
)
from ai_services.portrait.computing.request import Requested
from ai_services.portrait.counting import store as counting
from ai_services.portrait.counting.count import catch_up
from ai_services.portrait.period import PeriodType, parse
from ai_services.portrait.periods import period_store
from shared.data_access.ports import Relational
from shared.data_access.relational.postgres import Postgres
from shared.errors import NotFound
from shared.sharding.map_over_shards import map_over_shards

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Part:
    """`keys` are periods that follow one another; whoever computes them reaches the database at `url`."""

    url: str
    org_id: UUID
    period_type: PeriodType
    keys: tuple[str, ...]
    today: date
    now: datetime
    with_days: bool


async def compute_in_parts(
    relational: Relational,
    url: str,
    org_id: UUID,
    wanted: Requested,
    progress: Progress | None = None,
    *,
    at_once: int,
    ray_address: str | None = None,
) -> list[Computed]:
    """As `compute`, `at_once` parts together; `progress` hears how many periods of how many are done.

    NotFound for an unknown organisation; the error of the first part that fails, whose periods and those
    not begun stay marked, for whoever computes next.
    """
    now = datetime.now(UTC)
    course = Unbroken(relational, org_id, None)
    await catch_up(course.transaction, org_id)
    async with course.transaction() as tx:
        today = await period_store.local_today(tx, org_id, now)
        if today is None:
            raise NotFound("There is no such organisation.")
        await counting.await_turn(tx, org_id)
        how = await counting.state(tx, org_id)
        if how is not None and not how.trusted:
            wanted = EVERYTHING
        plan = await planned(tx, org_id, wanted)
        for period_type, periods in plan.items():
            await period_store.begin(tx, org_id, period_type, periods)
    last_type = [*plan][-1]
    parts = [
        Part(
            url, org_id, period_type, tuple(period.key for period in some), today, now,
            with_days=period_type == last_type,
        )
        for period_type, periods in plan.items()
        for some in quarters(periods)
    ]  # fmt: skip
    total, done = sum(len(part.keys) for part in parts), 0
    computed = {period_type: Computed(period_type) for period_type in plan}
    async for one in map_over_shards(
        compute_in_process, parts, at_once=at_once, ray_address=ray_address
    ):
        computed[one.period_type] = _together(computed[one.period_type], one)
        done += one.periods
        if progress is not None:
            progress(done, total)
    if wanted is EVERYTHING:
        async with course.transaction() as tx:
            await counting.await_turn(tx, org_id)
            await counting.trust(tx, org_id)
    await catch_up(course.transaction, org_id)
    return list(computed.values())


def compute_in_process(part: Part) -> Computed:
    """The whole life of a part, with a connection of its own."""
    return asyncio.run(_compute(part))


async def _compute(part: Part) -> Computed:
    began = time.perf_counter()
    periods = [parse(part.period_type, key) for key in part.keys]
    relational = Postgres(part.url, pool_size=1)
    try:
        async with relational.tenant(part.org_id) as tx:
            await counting.share_turn(tx, part.org_id)
            results = await compute_part(
                tx, part.org_id, part.period_type, periods, today=part.today, now=part.now,
                with_days=part.with_days,
            )  # fmt: skip
    finally:
        await relational.close()
    return Computed(part.period_type).plus(results, time.perf_counter() - began)


def _together(one: Computed, other: Computed) -> Computed:
    """Of one type, in whatever order they were done."""
    ends = [key for key in (one.first, other.first, one.last, other.last) if key is not None]
    return Computed(
        one.period_type,
        one.periods + other.periods,
        min(ends, default=None),
        max(ends, default=None),
        one.snapshots + other.snapshots,
        one.changed + other.changed,
        one.removed + other.removed,
        one.seconds + other.seconds,
    )
