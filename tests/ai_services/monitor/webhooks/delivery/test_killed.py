"""Processes that are killed while they send: every message arrives, each under one id."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from tests.ai_services.monitor.webhooks.conftest import Desk
from tests.ai_services.monitor.webhooks.receiver import Receiver, receiving
from tests.shared.jobs.workplace import until


@asynccontextmanager
async def process(desk: Desk) -> AsyncIterator[asyncio.subprocess.Process]:
    module = "tests.ai_services.monitor.webhooks.worker_process"
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", module, desk.place.url)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@pytest.mark.slow
async def test_what_a_killed_process_was_sending_arrives_by_another(desk: Desk, org: UUID) -> None:
    async with receiving() as receiver:
        receiver.held.clear()
        await desk.make(org, receiver.url)
        ids = [(await desk.queue(org)).ids[0] for _ in range(8)]
        async with process(desk) as child:
            await until(lambda: heard(receiver, 4))
            child.kill()
            await child.wait()
        receiver.held.set()
        async with desk.sending():
            found = [await desk.until_state(org, one, "delivered") for one in ids]
    assert {one.message_id for one in found} == set(receiver.ids)
    assert len([one for one in found if one.attempts > 1]) >= 4


async def heard(receiver: Receiver, count: int) -> bool:
    return len(receiver.requests) >= count
