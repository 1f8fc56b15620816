"""A worker in a process of its own, for tests that kill it: python -m tests.shared.jobs.worker_process URL."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace

from shared.data_access.relational.postgres import Postgres
from shared.jobs.worker import Worker
from shared.serving.background import running_beside
from tests.shared.jobs.workplace import QUICK, job_type, steps

# What a test kills is never what kills its process.
STEPS = job_type("steps", steps, max_lost=1000)


async def main(url: str) -> None:
    db = Postgres(url, pool_size=8)
    pace = replace(QUICK, lease=1.5, measure=15.0, clean=3600.0)
    worker = Worker(db, None, [STEPS], service="drill", pace=pace)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with running_beside({"jobs": worker.run}):
        print("working", flush=True)
        await ended.wait()
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
