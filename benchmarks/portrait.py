"""What portraits cost: to keep up with calls, to compute anew, and to read.

A real `looma up` with a generated year of one company (`calls`, `customers`), all dimensions (user, customer,
task, agent, organisation) and period types, as operators have it. Load, PostgreSQL and services share
the cores.

incremental_share  seconds to count a day of 27,000 new calls over those of recomputing the year
calls_per_s        new calls counted per second, of users, customers and the organisation;
                   `calls_per_s_all_dimensions`: of tasks and agents, too
growth             seconds per new call with all calls there, over those with a tenth of them
freshness_p99_s    from the commit of a batch of calls until it is in all portraits, a day's calls coming
                   in within half a minute
ratio_duckdb_month seconds to recompute a month whose snapshots are gone, over those of DuckDB for the same
                   grouped sums over the same rows from Parquet, stored, in the same run
all_periods_s      seconds to recompute every week, month and quarter of the year
get_p50_ms,        one user's portrait through the gateway, 500 requests/s, read before
get_p99_ms
cold_p99_ms        one customer's portrait through the gateway, never read before
trend_cold_ms      the slower of a 52-week trend and a summary through the gateway, not read since the
                   last refresh: the median of several
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx
import orjson

from ai_services.portrait.computing.computation import compute
from ai_services.portrait.counting import store as counting_store
from ai_services.portrait.counting.count import BATCH, count
from benchmarks import portrait_calls, portrait_duckdb
from benchmarks.edge.host import NotMeasured, free_port
from benchmarks.platform import Platform
from benchmarks.scale_load import load
from gateway.routing.packaged import packaged_text
from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import find

_ALWAYS_SHOWN: Final = (
    "incremental_share", "calls_per_s", "freshness_p99_s", "ratio_duckdb_month", "all_periods_s",
    "get_p50_ms", "get_p99_ms", "cold_p99_ms", "trend_cold_ms", "growth",
)  # fmt: skip
_NEW: Final = 27_000
_AT_ONCE: Final = 250_000  # calls of one statement that makes them
_BATCH: Final = 900  # calls that come in together, one such batch a second
_RATE, _COLD_RATE = 500.0, 100.0
_MONTH: Final = (date(2025, 6, 1), date(2025, 6, 30))
_METRICS: Final = (
    "connect_rate", "avg_duration", "negative_rate", "total_calls", "connected_calls",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    calls: int
    customers: int
    seconds: int
    batches: int


QUICK: Final = Plan(calls=1_000_000, customers=30_000, seconds=6, batches=10)
FULL: Final = Plan(calls=10_000_000, customers=300_000, seconds=15, batches=30)


def run(*, quick: bool) -> dict[str, Any]:
    plan = QUICK if quick else FULL
    figures: dict[str, Any] = dict.fromkeys(_ALWAYS_SHOWN)
    figures |= {
        "cores": os.cpu_count(), "calls": plan.calls, "customers": plan.customers,
        "machine_load_before": round(os.getloadavg()[0], 2),
    }  # fmt: skip
    with _platform() as (platform, folder):
        asyncio.run(_Bench(platform, folder, plan, figures).measure())
    figures["machine_load_after"] = round(os.getloadavg()[0], 2)
    return figures


@contextmanager
def _platform() -> Iterator[tuple[Platform, Path]]:
    with tempfile.TemporaryDirectory(prefix="looma-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the embedded PostgreSQL runs as a user of its own
        routes = (
            folder / "routes.toml"
        )  # with limits that one client may reach and none of these does
        routes.write_text(re.sub(r"\b\d+/s burst \d+", "100000/s burst 100000", packaged_text()))
        platform = Platform(folder / "home", free_port())
        platform.env["GATEWAY_ROUTES"] = str(routes)
        try:
            platform.up()
            yield platform, folder
        finally:
            platform.down()


class _Bench:
    def __init__(
        self, platform: Platform, folder: Path, plan: Plan, figures: dict[str, Any]
    ) -> None:
        self._platform, self._folder, self._plan, self._figures = platform, folder, plan, figures
        self._token = platform.looma("token", "--role", "admin")
        self._org_id = UUID(_claims(self._token)["org"])
        self._made = self._new_ones = 0  # calls, by their numbers

    async def measure(self) -> None:
        found = find(self._platform.home)
        if found is None:
            raise NotMeasured("the platform has no stores of its own: is DATABASE_URL set?")
        self._relational = Postgres(found.database_url, pool_size=4, statement_timeout=600)
        self._owner = await asyncpg.connect(found.database_url)
        try:
            await self._begin()
            tenth = self._plan.calls // 10
            await self._fill(tenth)
            await self._recompute()
            first = await self._count_day()
            await self._fill(self._plan.calls)
            self._figures["all_periods_s"] = round(await self._recompute(), 1)
            seconds = await self._count_day()
            self._figures |= {
                "growth": round(seconds / first, 2),
                "calls_per_s": round(_NEW / seconds),
                "incremental_share": round(seconds / self._figures["all_periods_s"], 4),
            }
            of_all = await self._count_day(bare=False)
            self._figures["calls_per_s_all_dimensions"] = round(_NEW / of_all)
            _say("counting")
            await self._month()
            await self._freshness()
            await self._reads()
        finally:
            await self._owner.close()
            await self._relational.close()

    async def _begin(self) -> None:
        """One call through the front door, so that the organisation is one that is counted."""
        body = {"records": [_call()]}
        headers = {"Authorization": f"Bearer {self._token}"}
        async with httpx.AsyncClient(base_url=self._platform.url, headers=headers) as client:
            (await client.post("/api/v1/calls", json=body)).raise_for_status()
        await self._all_counted()

    async def _fill(self, until: int) -> None:
        while self._made < until:
            last = min(until, self._made + _AT_ONCE)
            await portrait_calls.whole(
                self._owner, self._org_id, self._made + 1, last, self._plan.calls,
                self._plan.customers,
            )  # fmt: skip
            self._made = last
        await self._owner.execute("VACUUM ANALYZE call_record_enriched", timeout=600)
        _say(f"{until:,} calls")

    async def _recompute(self) -> float:
        began = time.perf_counter()
        await compute(self._relational, self._org_id)
        seconds = time.perf_counter() - began
        await self._owner.execute("VACUUM ANALYZE", timeout=600)
        _say(f"recomputed in {seconds:.1f} s")
        return seconds

    async def _count_day(self, *, bare: bool = True) -> float:
        """The median of three days' worth of calls, counted here while the service has no turn.

        `bare`: they name no task and no agent, so that users, customers and the organisation are counted.
        """
        taken = []
        for _ in range(3):
            async with self._relational.tenant(self._org_id) as turn:
                await counting_store.await_turn(turn, self._org_id)
                await self._new(_NEW, bare=bare)
                began = time.perf_counter()
                how = await counting_store.state(turn, self._org_id)
                assert how is not None
                while True:
                    batch = await count(turn, self._org_id, how.zone, BATCH)
                    if batch is None or batch.last:
                        break
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    async def _new(self, calls: int, *, bare: bool = False) -> None:
        first = 100_000_000 + self._new_ones
        await portrait_calls.day(
            self._owner, self._org_id, first, calls, self._plan.customers, bare=bare
        )
        self._new_ones += calls

    async def _month(self) -> None:
        """What is stored of the month is deleted first, of ours as of theirs."""
        first, last = _MONTH
        for table in ("user", "customer", "task", "agent"):
            await self._owner.execute(
                f"DELETE FROM {table}_portrait_snapshot WHERE org_id = $1 AND period_type = 'month'"
                " AND period_key = '2025-06'", self._org_id,
            )  # fmt: skip
        await self._owner.execute("VACUUM ANALYZE", timeout=600)
        parquet = await portrait_duckdb.exported(
            self._owner, self._org_id, first, last, self._folder
        )
        began = time.perf_counter()
        await compute(self._relational, self._org_id, ("month",), first, last)
        ours = time.perf_counter() - began
        theirs = await asyncio.to_thread(portrait_duckdb.month, parquet, self._folder)
        self._figures |= {
            "month_s": round(ours, 2), "duckdb_month_s": round(theirs, 2),
            "ratio_duckdb_month": round(ours / theirs, 2),
        }  # fmt: skip
        _say("a month")

    async def _freshness(self) -> None:
        """Of each batch, until its changes have left the log, which they do with what is counted."""
        await self._all_counted()
        ages: list[float] = []
        watching: set[asyncio.Task[None]] = set()
        pool = await asyncpg.create_pool(find_url(self._platform), min_size=1, max_size=2)
        try:
            for _ in range(self._plan.batches):
                began = time.perf_counter()
                await self._new(_BATCH)
                seq = await self._owner.fetchval(
                    "SELECT max(seq) FROM portrait_change WHERE org_id = $1", self._org_id
                )
                watch = asyncio.create_task(self._until_counted(pool, seq, ages))
                watching.add(watch)
                await asyncio.sleep(max(0.0, 1.0 - (time.perf_counter() - began)))
            await asyncio.gather(*watching)
        finally:
            await pool.close()
        self._figures["freshness_p99_s"] = round(sorted(ages)[99 * len(ages) // 100], 2)
        self._figures["freshness_p50_s"] = round(statistics.median(ages), 2)
        _say("freshness")

    async def _until_counted(self, pool: asyncpg.Pool, seq: int | None, ages: list[float]) -> None:
        began = time.perf_counter()
        waiting = "SELECT EXISTS (SELECT FROM portrait_change WHERE org_id = $1 AND seq <= $2)"
        while seq is not None and await pool.fetchval(waiting, self._org_id, seq):  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.02)
        ages.append(time.perf_counter() - began)

    async def _all_counted(self) -> None:
        for _ in range(600):
            if not await self._owner.fetchval("SELECT EXISTS (SELECT FROM portrait_change)"):
                return
            await asyncio.sleep(0.1)
        raise NotMeasured("the service did not count all calls within a minute")

    async def _reads(self) -> None:
        port, draw = self._platform.port, random.Random(7)
        head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {self._token}\r\n"

        def get(path: str) -> bytes:
            return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()

        def of_user() -> bytes:
            user = draw.randrange(20)
            return get(f"/api/v1/portrait/user-{user}?period_type=month&period_key=2025-06")

        fresh = iter(draw.sample(range(self._plan.customers), self._plan.customers))

        def of_customer() -> bytes:
            customer = f"customer-{next(fresh)}"
            return get(f"/api/v1/portrait/customers/{customer}?period_type=quarter")

        async with load(port, _RATE, of_user):
            await asyncio.sleep(2)
        async with load(port, _RATE, of_user) as warm:
            await asyncio.sleep(self._plan.seconds)
        async with load(port, _COLD_RATE, of_customer) as cold:
            await asyncio.sleep(self._plan.seconds)
        for name, tally in (("warm", warm), ("cold", cold)):
            if tally.failed:
                self._figures[f"{name}_failures"] = str(dict(tally.failures.most_common(3)))
        self._figures |= {
            "get_p50_ms": warm.ms(50), "get_p99_ms": warm.ms(99), "cold_p99_ms": cold.ms(99),
        }  # fmt: skip
        trends, summaries = [], []
        headers = {"Authorization": f"Bearer {self._token}"}
        async with httpx.AsyncClient(base_url=self._platform.url, headers=headers) as client:
            for metric in _METRICS:
                await self._new(1)
                await self._all_counted()
                trends.append(
                    await _timed(
                        client, f"/api/v1/portrait/trend?period_type=week&limit=52&metric={metric}"
                    )
                )
                summaries.append(
                    await _timed(client, "/api/v1/portrait/summary?period_type=quarter")
                )
        slower = max(statistics.median(trends), statistics.median(summaries))
        self._figures["trend_cold_ms"] = round(slower, 1)


async def _timed(client: httpx.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    (await client.get(path)).raise_for_status()
    return 1e3 * (time.perf_counter() - began)


def find_url(platform: Platform) -> str:
    found = find(platform.home)
    assert found is not None
    return found.database_url


def _call() -> dict[str, object]:
    return {
        "callid": "first", "user_id": "user-0", "customer_id": "customer-0",
        "started_at": "2025-06-02T10:00:00+08:00", "duration_ms": 1000, "call_status": "connected",
    }  # fmt: skip


def _claims(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    padded = middle + "=" * (-len(middle) % 4)
    claims: dict[str, Any] = orjson.loads(base64.urlsafe_b64decode(padded))
    return claims


def _say(part: str) -> None:
    print(f"{part}: done (load {os.getloadavg()[0]:.2f})", file=sys.stderr)
