"""Where tests let jobs run: effects that can be counted, workers in this process, a little patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from shared.data_access.relational.postgres import Postgres
from shared.jobs.backoff import Retry
from shared.jobs.context import JobContext
from shared.jobs.enqueue import enqueue
from shared.jobs.job_type import Handler, JobType
from shared.jobs.store import jobs, schedules
from shared.jobs.upkeep import Pace
from shared.jobs.worker import Worker

QUICK = Pace(
    poll=0.05, lease=2.0, beat=0.1, grace=0.2, schedules=0.1, settle=0.2, measure=0.1, clean=0.2
)
SOON = Retry(failures=3, first_s=0.02, longest_s=0.05)


def job_type(name: str, handler: Handler[Any], **bounds: Any) -> JobType[Any]:
    bounds = {"time_limit": timedelta(seconds=30), "summary": "A test.", "retry": SOON} | bounds
    return JobType(name, handler, **bounds)


async def steps(context: JobContext[Any], args: Mapping[str, Any]) -> None:
    """One effect for each step, each in the transaction of its checkpoint."""
    first = (context.cursor or {}).get("step", 0)
    for step in range(first, args["steps"]):
        await asyncio.sleep(args.get("pause", 0.0))
        async with context.db.system() as tx:
            await context.checkpoint(tx, {"step": step + 1}, done=step + 1, total=args["steps"])
            await add_effect(tx, context, step)


async def add_effect(tx: Any, context: JobContext[Any], step: int) -> None:
    await tx.execute(
        "INSERT INTO effect (job_id, step, fence) VALUES ($1, $2, $3)",
        context.job_id, step, context.number,
    )  # fmt: skip


@dataclass
class Workplace:
    db: Postgres
    url: str

    @staticmethod
    async def prepare(url: str) -> None:
        """Make the tables of the platform, and one of effects that takes any effect twice."""
        db = Postgres(url)
        await db.ping()
        await db.close()
        connection = await asyncpg.connect(url)
        await connection.execute(
            "CREATE TABLE effect (job_id bigint, step integer, fence bigint, "
            "at timestamptz DEFAULT clock_timestamp());"
            "GRANT SELECT, INSERT ON effect TO looma_system, looma_app"
        )
        await connection.close()

    async def empty(self) -> None:
        connection = await asyncpg.connect(self.url)
        # Services of the test before may hold one of these tables and want another. This one gives
        # way to them before a deadlock is looked for, and tries again.
        await connection.execute("SET lock_timeout = '500ms'")
        while True:
            with suppress(asyncpg.LockNotAvailableError):
                await connection.execute(
                    "TRUNCATE effect, job, job_schedule, job_type, organisation CASCADE"
                )
                break
        await connection.close()

    async def organisation(self, zone: str = "Asia/Shanghai") -> UUID:
        async with self.db.system() as tx:
            return await tx.fetchval(
                "INSERT INTO organisation (slug, name, timezone) VALUES ($1, 'Test', $2) "
                "RETURNING org_id",
                f"t-{uuid4().hex}", zone,
            )  # fmt: skip

    async def put(
        self, kind: JobType[Any], org_id: UUID | None, /, count: int = 1, **args: Any
    ) -> list[int]:
        async with self.db.system() as tx:
            return [(await enqueue(tx, kind, args, org_id=org_id)).job_id for _ in range(count)]

    async def job(self, job_id: int) -> jobs.Job:
        async with self.db.system() as tx:
            return await jobs.get_job(tx, job_id)

    async def effects(self, job_id: int | None = None) -> list[tuple[int, int]]:
        """(job, step) of every effect there is, in order."""
        async with self.db.system() as tx:
            rows = await tx.fetch(
                "SELECT job_id, step FROM effect WHERE $1::bigint IS NULL OR job_id = $1 ORDER BY 1, 2",
                job_id,
            )
        return [(row["job_id"], row["step"]) for row in rows]

    async def count(self, state: str) -> int:
        async with self.db.system() as tx:
            return await tx.fetchval("SELECT count(*) FROM job WHERE state = $1", state)

    async def until_state(self, job_id: int, state: str, seconds: float = 60.0) -> jobs.Job:
        async def there() -> bool:
            return (await self.job(job_id)).state == state

        await until(there, seconds)
        return await self.job(job_id)

    async def until_over(self, ids: list[int], seconds: float = 90.0) -> None:
        async def over() -> bool:
            async with self.db.system() as tx:
                return not await tx.fetchval(
                    "SELECT count(*) FROM job WHERE job_id = ANY($1) AND finished_at IS NULL", ids
                )

        await until(over, seconds)

    def worker(self, *types: JobType[Any], **options: Any) -> Worker[None]:
        return Worker(self.db, None, types, **{"service": "test", "pace": QUICK} | options)

    @asynccontextmanager
    async def working(self, *types: JobType[Any], **options: Any) -> AsyncIterator[Worker[None]]:
        worker = self.worker(*types, **options)
        async with running(worker):
            await until(lambda: self._declared({kind.name for kind in types}))
            yield worker

    async def _declared(self, names: set[str]) -> bool:
        async with self.db.system() as tx:
            return names <= {one.name for one in await schedules.declared_types(tx)}


@asynccontextmanager
async def running(worker: Worker[None]) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.03)
