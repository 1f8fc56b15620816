"""Work beside the requests ends with them."""

from __future__ import annotations

import asyncio

from shared.errors import StoreUnavailable
from shared.serving.background import running_beside


async def test_work_that_takes_a_cancellation_for_a_failure_ends_all_the_same() -> None:
    taken = 0

    async def work() -> None:
        nonlocal taken
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            taken += 1
            if taken < 2:
                raise StoreUnavailable("The store is away.") from None
            raise

    async with asyncio.timeout(20):
        async with running_beside({"work": work}):
            await asyncio.sleep(0.01)
    assert taken >= 1
    assert not [one for one in asyncio.all_tasks() if one.get_name() == "work"]


async def test_what_is_cleaning_up_is_given_time_for_it() -> None:
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.8)  # as a store that answers slowly
            cleaned.set()

    async with running_beside({"work": work}):
        await asyncio.sleep(0.01)
    assert cleaned.is_set()
