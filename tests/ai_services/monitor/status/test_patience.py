import asyncio

import pytest

from ai_services.monitor.status.patience import Patience
from shared.errors import NotFound, UpstreamTimeout


async def test_what_is_answered_or_raised_in_time_arrives() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise NotFound("none")

    patience = Patience(10)
    assert await patience.ask(answer()) == 7
    with pytest.raises(NotFound):
        await patience.ask(fail())
    await patience.close()


async def test_what_ends_neither_in_time_nor_when_it_is_cancelled_is_not_waited_for() -> None:
    let_go, ended = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await let_go.wait()  # as a connection that can't be given back
            ended.set()
            raise

    patience = Patience(0.01)
    with pytest.raises(UpstreamTimeout, match=r"no answer within 0\.01 s"):
        await patience.ask(stubborn())
    assert not ended.is_set()
    let_go.set()
    await patience.close()
    assert ended.is_set()


async def test_who_is_cancelled_cancels_what_it_asked() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    patience = Patience(60)
    asking = asyncio.create_task(patience.ask(work()))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await patience.close()
    assert cancelled.is_set()
