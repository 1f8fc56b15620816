"""Several gateway processes on one port."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import httpx
import psutil

from gateway.worker_metrics import merged
from shared.config import process_environment
from tests.gateway.conftest import SECRET
from tests.gateway.wire import until


def test_pages_of_workers_are_one_page_with_their_numbers() -> None:
    one = b'# HELP a_total Things\n# TYPE a_total counter\na_total{x="y"} 1.0\n'
    two = b'# HELP a_total Things\n# TYPE a_total counter\na_total{x="y"} 2.0\n'
    page = merged({1: one, 2: two}).decode()
    assert page.count("# TYPE a_total counter") == 1
    assert 'a_total{worker="1",x="y"} 1.0' in page
    assert 'a_total{worker="2",x="y"} 2.0' in page


async def test_workers_share_a_port_and_a_dead_one_comes_back(
    tmp_path: Path, redis_at: str, free_port: int
) -> None:
    url = f"http://127.0.0.1:{free_port}"
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        env=process_environment(
            LOOMA_HOME=str(tmp_path),
            INTERNAL_TOKEN_SECRET=SECRET,
            REDIS_URL=redis_at,
            GATEWAY_PORT=str(free_port),
            GATEWAY_WORKERS="2",
            SHUTDOWN_SECONDS="2",
            LOG_LEVEL="error",
        ),
    )

    async def page() -> str:
        try:
            async with httpx.AsyncClient(timeout=2) as client:
                return (await client.get(f"{url}/metrics")).text
        except httpx.HTTPError:
            return ""

    async def both() -> bool:
        return set(re.findall(r'worker="(\d)"', await page())) == {"1", "2"}

    def workers() -> list[int]:
        return [child.pid for child in psutil.Process(parent.pid).children()]

    try:
        await until(both, 20)
        before = workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)

        async def again() -> bool:
            return len(workers()) == 2 and before[0] not in workers()

        await until(again, 10)
        await until(both, 20)
    finally:
        parent.terminate()
        assert await asyncio.wait_for(parent.wait(), 15) == 0
    assert not [pid for pid in before if psutil.pid_exists(pid)]
