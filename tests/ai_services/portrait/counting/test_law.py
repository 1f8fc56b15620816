"""The snapshot law, as a machine: whatever happens to calls, in whatever order, whoever counts it and is
killed meanwhile, once all is counted every portrait is that of the calls as they stand.

Calls change by the functions that the enrichment service changes them by. A step does up to 20 things.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ai_services.enrichment import store as enrichment
from ai_services.enrichment.analysis import store as analysis
from ai_services.enrichment.analysis.chain import store as insights
from ai_services.enrichment.analysis.corrections.correcting import Wish, correct, withdraw
from ai_services.enrichment.analysis.saving import saved_analyses
from ai_services.enrichment.customers import merging
from ai_services.enrichment.deleting.calls import delete_calls
from ai_services.enrichment.phone import PhoneCipher
from ai_services.portrait.computing.computation import compute
from ai_services.portrait.computing.time_zone import count_hours_in, redate
from ai_services.portrait.counting import store
from ai_services.portrait.counting.count import catch_up, count
from shared.data_access.relational.postgres import Postgres
from shared.errors import LoomaError, NotFound, StoreUnavailable
from tests.ai_services.portrait.calls import Organisation, new_organisation
from tests.ai_services.portrait.computing.test_snapshot_law import FAILED, ZONES
from tests.ai_services.portrait.counting.oracle import assert_counted

KEY: Final = b"k" * 32
CALLIDS: Final = [f"call-{number}" for number in range(30)]
USERS: Final = ("u1", "u2", "张三")
CUSTOMERS: Final = ("k1", "k2", "k3", "k4")
TURNS: Final = json.dumps([{"role": "customer", "at_ms": 0, "text": "hello"}])
# Where weeks, months, quarters, years and clocks change; week 53, and 29 February.
SEASONS: Final = (
    (datetime(2020, 12, 31, tzinfo=UTC), datetime(2021, 1, 4, tzinfo=UTC)),
    (datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC), datetime(2024, 3, 31, tzinfo=UTC)),
    (datetime(2024, 10, 27, tzinfo=UTC), datetime(2024, 12, 30, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
)  # fmt: skip
times = st.tuples(st.integers(0, 5), st.integers(-2000, 2000))  # a day of the season, and minutes
rows = st.tuples(
    st.sampled_from(CALLIDS),
    st.sampled_from((None, "t1", "t2")),
    st.sampled_from(USERS),
    st.sampled_from((None, *CUSTOMERS)),
    times,
    st.integers(0, 600_000) | st.sampled_from((0, 127, 128, 2**31 - 1)),
    st.integers(0, 40),
    st.sampled_from((None, *"ABCDEF")),
    st.sampled_from((None, 1, 2)),
    st.just("connected") | st.sampled_from(FAILED),
    st.booleans(),
)
batches = st.lists(rows, min_size=8, max_size=20, unique_by=lambda row: row[0])
verdicts = st.tuples(
    st.sampled_from(CALLIDS),
    st.sampled_from(("positive", "neutral", "negative")),
    st.floats(0, 1),
    st.sampled_from(("low", "medium", "high")),
    st.sampled_from(("low", "medium", "high")),
    st.booleans(),
)
some_ids = st.lists(st.sampled_from(CALLIDS), max_size=6, unique=True)


class Machine(RuleBasedStateMachine):
    """`steps` counts what was done to calls, and to what counts them."""

    db: Postgres
    loop: asyncio.AbstractEventLoop
    steps = 0
    since = 0  # the last time that all was compared

    def do(self, what: Coroutine[Any, Any, Any], steps: int = 1) -> Any:
        type(self).steps += steps
        self.since += 1
        return asyncio.run_coroutine_threadsafe(what, self.loop).result()

    @initialize(zone=st.sampled_from(ZONES), season=st.sampled_from(SEASONS))
    def begin(self, zone: str, season: Sequence[datetime]) -> None:
        self.zone, self.season = zone, season
        self.organisation: Organisation = self.do(new_organisation(self.db, zone))
        self.org_id = self.organisation.org_id
        self.merges: list[Any] = []
        self.cipher = PhoneCipher(KEY, self.org_id)

    def staged(self, row: Any) -> str:
        """As COPY takes it."""
        callid, task, user, customer, time, ms, rounds, level, hangup, status, talked = row
        of = {
            "callid": callid, "task_id": task, "user_id": user, "customer_id": customer,
            "started_at": self.at(time), "duration_ms": ms, "bill_ms": ms, "rounds": rounds,
            "level_name": level, "hangup_by": hangup, "call_status": status,
            "turns": quoted(TURNS) if talked else None,
        }  # fmt: skip
        values = (of.get(column) for column in enrichment.STAGING_COLUMNS)
        return ",".join("" if value is None else str(value) for value in values) + "\n"

    def at(self, time: tuple[int, int]) -> str:
        day, minutes = time
        moment = self.season[day % len(self.season)] + timedelta(minutes=minutes)
        return moment.isoformat()

    def tenant(self) -> Any:
        return self.db.tenant(self.org_id)

    # What happens to calls.

    @rule(batch=batches)
    def import_calls(self, batch: list[Any]) -> None:
        """New ones, the same again, others of the same id, with a transcript or another one."""
        self.bring(batch)

    @rule(batch=batches)
    def import_more(self, batch: list[Any]) -> None:
        """So that rules without values don't crowd it out."""
        self.bring(batch)

    @rule(batch=batches)
    def import_others(self, batch: list[Any]) -> None:
        self.bring(batch)

    def bring(self, batch: list[Any]) -> None:

        async def bring() -> None:
            csv = "".join(self.staged(row) for row in batch)
            async with self.tenant() as tx:
                await enrichment.merge_calls(
                    tx, self.org_id, self.zone, csv.encode(), self.cipher.digests, transcripts=True
                )

        self.do(bring(), len(batch))

    @rule(verdicts=st.lists(verdicts, min_size=5, max_size=15, unique_by=lambda one: one[0]))
    def analyse(self, verdicts: list[Any]) -> None:
        async def judge() -> None:
            async with self.tenant() as tx:
                found = await analysis.versions(tx, self.org_id, [one[0] for one in verdicts])
                judged = [one for one in verdicts if one[0] in found]
                await analysis.write_analyses(
                    tx, self.org_id, [(*one[:5], "because", "test/1") for one in judged]
                )
                await insights.save_insights(
                    tx,
                    [
                        (self.org_id, one[0], "local", one[5], False, None, [], *[None] * 3, [],
                         *[None] * 6, [], [])
                        for one in judged
                    ],
                )  # fmt: skip
                await saved_analyses(tx, self.org_id, [one[0] for one in judged])

        self.do(judge(), len(verdicts))

    @rule(
        callid=st.sampled_from(CALLIDS),
        sentiment=st.sampled_from(("positive", "negative")),
        risk=st.sampled_from(("low", "high")),
        back=st.booleans(),
    )
    def correct(self, callid: str, sentiment: str, risk: str, back: bool) -> None:
        async def decide() -> None:
            facts = {"sentiment": sentiment, "churn_risk": risk}
            with suppress(LoomaError):
                if back:
                    await withdraw(self.db, self.org_id, callid, actor="user:ann")
                else:
                    await correct(self.db, self.org_id, callid, Wish(facts), actor="user:ann")

        self.do(decide())

    @rule(callids=some_ids)
    def delete(self, callids: list[str]) -> None:
        async def gone() -> None:
            async with self.tenant() as tx:
                await delete_calls(tx, self.org_id, callids)

        self.do(gone(), len(callids))

    @rule(callids=some_ids, agent=st.sampled_from((None, "a1", "a2")))
    def hand_over(self, callids: list[str], agent: str | None) -> None:
        async def another() -> None:
            async with self.tenant() as tx:
                await tx.execute(
                    "UPDATE call_record_enriched SET agent_id = $1 WHERE callid = ANY($2::text[])",
                    agent,
                    callids,
                )

        self.do(another(), len(callids))

    @precondition(lambda self: self.since > 4)
    @rule(one=st.sampled_from(CUSTOMERS), other=st.sampled_from(CUSTOMERS), back=st.booleans())
    def merge_customers(self, one: str, other: str, back: bool) -> None:
        async def together() -> None:
            with suppress(LoomaError):
                if back and self.merges:
                    merge = self.merges.pop()
                    await merging.split(
                        self.db, self.org_id, merge.customer_id, merge.merge_id, actor="user:ann"
                    )
                else:
                    digests = self.cipher.digests
                    merge = await merging.merge(
                        self.db, digests, self.org_id, one, other, actor="user:ann"
                    )
                    self.merges.append(merge)

        self.do(together())

    @precondition(lambda self: self.since > 4)
    @rule(zone=st.sampled_from(ZONES))
    def move_house(self, zone: str) -> None:
        async def follow() -> None:
            async with self.db.system() as tx:
                await tx.execute(
                    "UPDATE organisation SET timezone = $2 WHERE org_id = $1", self.org_id, zone
                )
            last: str | None = ""
            while last is not None:
                async with self.tenant() as tx:
                    last, _ = await redate(tx, self.org_id, zone, last)
            async with self.tenant() as tx:
                await store.state(tx, self.org_id)
                await count_hours_in(tx, self.org_id, zone)

        self.zone = zone
        self.do(follow())

    # Who counts.

    async def _count(self, limit: int) -> None:
        async with self.tenant() as tx:
            if await store.try_turn(tx, self.org_id):
                how = await store.state(tx, self.org_id)
                assert how is not None
                await count(tx, self.org_id, how.zone, limit)

    @rule(limit=st.integers(1, 30))
    def count_some(self, limit: int) -> None:
        self.do(self._count(limit))

    @precondition(lambda self: self.since > 4)
    @rule(limit=st.integers(1, 10))
    def count_by_two_while_calls_come(self, limit: int) -> None:
        async def all_at_once() -> None:
            async def touch() -> None:
                async with self.tenant() as tx:
                    await tx.execute("UPDATE call_record_enriched SET rounds = rounds + 1")

            await asyncio.gather(self._count(limit), self._count(limit), touch())

        self.do(all_at_once(), 3)

    @precondition(lambda self: self.since > 4)
    @rule(limit=st.integers(1, 10), cut=st.booleans())
    def die_while_counting(self, limit: int, cut: bool) -> None:
        """At the end of a transaction, by an error or because its connection is gone."""

        async def die() -> None:
            async with self.tenant() as tx:
                await store.await_turn(tx, self.org_id)
                how = await store.state(tx, self.org_id)
                assert how is not None
                await count(tx, self.org_id, how.zone, limit)
                if cut:
                    await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                raise NotFound("killed")

        async def survive() -> None:
            with suppress(NotFound, StoreUnavailable, LoomaError):
                await die()

        self.do(survive())

    @precondition(lambda self: self.since > 4)
    @rule()
    def recompute(self) -> None:
        self.do(compute(self.db, self.org_id))

    @precondition(lambda self: self.since > 16)
    @rule()
    def drain(self) -> None:
        self.since = 0

        async def all_of_it() -> None:
            await catch_up(self.tenant, self.org_id)
            await assert_counted(self.organisation)

        self.do(all_of_it())

    @invariant()
    def nothing_is_negative(self) -> None:
        if not hasattr(self, "org_id"):
            return

        async def check() -> None:
            async with self.tenant() as tx:
                for table in ("user_portrait_snapshot", "customer_portrait_snapshot"):
                    assert not await tx.fetchval(
                        f"SELECT count(*) FROM {table} WHERE least(total_calls - 1, connected_calls, "
                        "total_rounds, busy_count, negative_count, high_churn_risk) < 0"
                    )

        self.do(check(), 0)

    def teardown(self) -> None:
        if hasattr(self, "org_id"):
            self.drain()


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


async def play(db: Postgres, examples: int, steps: int) -> int:
    """How many steps that were."""

    class Played(Machine):
        pass

    Played.db, Played.loop, Played.steps = db, asyncio.get_running_loop(), 0
    bounds = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, Played, settings=bounds)
    return Played.steps


async def test_what_is_counted_is_what_there_is(db: Postgres) -> None:
    assert await play(db, examples=16, steps=50) >= 2_000


@pytest.mark.slow
async def test_what_is_counted_is_what_there_is_for_very_long(db: Postgres) -> None:
    done = 0
    while done < 100_000:
        done += await play(db, examples=50, steps=60)
