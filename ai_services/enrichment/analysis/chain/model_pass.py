"""Working off the calls that wait for a model: claimed, asked about in packs, saved pack by pack.

What is to be asked is written down before it is, and taken back in the transaction that saves the
answer with the verdicts of its calls. Who takes over from a killed process therefore asks the same
requests again, to the byte, and the llm service has kept the answers that were given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from ai_services.enrichment.analysis import store as claims
from ai_services.enrichment.analysis.chain import store
from ai_services.enrichment.analysis.chain.asking.ask import Asking, Dead, Found, ModelsAway
from ai_services.enrichment.analysis.chain.asking.packing import Pack, planned
from ai_services.enrichment.analysis.chain.asking.together import together
from ai_services.enrichment.analysis.chain.asking.verdict import Verdict
from ai_services.enrichment.analysis.chain.backfill import Backfill
from ai_services.enrichment.analysis.chain.first_look import read_verdicts
from ai_services.enrichment.analysis.chain.insight_rows import insight_row
from ai_services.enrichment.analysis.chain.judged import Judged, judged_by_model
from ai_services.enrichment.analysis.chain.metrics import ChainMetrics
from ai_services.enrichment.analysis.chain.own_model import with_label
from ai_services.enrichment.analysis.chain.rules import Requests
from ai_services.enrichment.analysis.chain.transcript import Item, basis_of, items_of, normalised
from ai_services.enrichment.analysis.chain.wanted import Wanted, wanted_by
from ai_services.enrichment.analysis.leases import LEASE_S, leased
from ai_services.enrichment.analysis.local import Turn
from ai_services.enrichment.analysis.rows import columns, to_turns
from ai_services.enrichment.analysis.saving import saved_analyses
from ai_services.enrichment.analysis.store import Claim
from shared.data_access.ports import Relational, Row, Transaction

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.trained.model import TrainedModel

_LANES: Final = 3  # claims at once: while some wait for their last answers the others ask
_ELSEWHERE_S: Final = 1.0  # until what another claim asks may be known
_log = structlog.get_logger("looma.analysis")

Saving = Callable[[Transaction, int], Awaitable[None]]


@dataclass(slots=True)
class _Batch:
    """A claim under way: what is known of each item, and the calls that are not saved yet."""

    number: int
    lease: float
    calls: dict[str, Row]
    turns: dict[str, list[Turn]]
    items: dict[str, list[Item]]
    wanted: Wanted
    known: Found = field(default_factory=dict)
    fresh: set[bytes] = field(default_factory=set)  # asked for now, not kept from before
    lost: bool = False  # somebody else has taken the claim over

    def calls_with(self, digests: Collection[bytes]) -> list[str]:
        return [
            callid
            for callid, items in self.items.items()
            if any(item.digest in digests for item in items)
        ]

    def verdicts(self, found: Found, callids: Iterable[str]) -> list[tuple[bytes, Any]]:
        """What was found on these calls, to be kept."""
        digests = {item.digest for callid in callids for item in self.items[callid]}
        return [
            (digest, one.model_dump(mode="json"))
            for digest, one in found.items()
            if digest in digests and isinstance(one, Verdict)
        ]

    def complete(self) -> list[str]:
        """Calls that are not saved yet and all of whose items are known."""
        return [
            callid
            for callid, items in self.items.items()
            if callid in self.calls and all(item.digest in self.known for item in items)
        ]


@dataclass(slots=True)
class Passed:
    """What a pass came to: calls that have a model's verdict, dead letters, and why it ended early."""

    saved: int = 0
    dead: int = 0
    more: bool = False  # others had their turn before all was done
    away: ModelsAway | None = None


class ModelPass:
    """`run` until nothing waits, or no model can be asked."""

    def __init__(
        self,
        db: Relational,
        asking: Asking,
        requests: Requests,
        metrics: ChainMetrics,
        trained: TrainedModel | None = None,
    ) -> None:
        self._db = db
        self._asking = asking
        self._requests = requests
        self._metrics = metrics
        self._trained = trained
        self._backfill = Backfill(db, asking, requests) if requests.backfill_from else None
        self._limit = requests.batch * requests.at_once

    async def run(
        self,
        org_id: UUID,
        *,
        saving: Saving | None = None,
        lease: float = LEASE_S,
        most_claims: int | None = None,
    ) -> Passed:
        """`saving` is told in each transaction how many verdicts it saves, and may refuse them.

        After `most_claims` others have their turn.
        """
        if self._backfill is not None:
            await self._backfill.run(org_id)
        passed = Passed()
        left = iter(range(most_claims)) if most_claims is not None else None
        one_by_one = asyncio.Lock()  # what is saved; `saving` counts

        async def lane() -> None:
            while passed.away is None:
                if left is not None and next(left, None) is None:
                    passed.more = True
                    return
                batch = await self._claimed(org_id, lease)
                if batch is None:
                    return
                calls = len(batch.calls)
                async with leased(self._db, org_id, batch.number, lease):
                    await self._work(org_id, batch, passed, saving, one_by_one)
                if len(batch.calls) == calls:  # others ask about them right now
                    await asyncio.sleep(_ELSEWHERE_S)
                async with self._db.tenant(org_id) as tx:
                    await claims.end_claim(tx, org_id, batch.number)

        await together(lane() for _ in range(_LANES))
        if passed.away is not None:
            _log.warning(
                "analysis_without_model",
                org_id=str(org_id),
                outcome=passed.away.outcome,
                text=passed.away.message,
            )
        return passed

    async def _claimed(self, org_id: UUID, lease: float) -> _Batch | None:
        async with self._db.tenant(org_id) as tx:
            claim = await store.claim(tx, org_id, self._limit, lease)
            wanted = await wanted_by(tx, org_id)
        if claim is None:
            return None
        return await asyncio.to_thread(self._batch, claim, lease, wanted)

    def _batch(self, claim: Claim, lease: float, wanted: Wanted) -> _Batch:
        basis = basis_of(self._asking.analyzer, wanted.topics)
        turns = {call["callid"]: to_turns(call["turns"]) for call in claim.calls}
        items = {
            callid: items_of(normalised(said), basis, self._requests.request_tokens)
            for callid, said in turns.items()
        }
        calls = {call["callid"]: call for call in claim.calls}
        return _Batch(claim.number, lease, calls, turns, items, wanted)

    async def _work(
        self,
        org_id: UUID,
        batch: _Batch,
        passed: Passed,
        saving: Saving | None,
        one_by_one: asyncio.Lock,
    ) -> None:
        """ModelsAway is noted, not raised. What was answered until then is saved."""
        packs = await self._planned(org_id, batch)

        async def save(names: Sequence[bytes], found: Found) -> None:
            async with one_by_one:
                await self._save(org_id, batch, names, found, passed, saving)

        await save([], {})  # what others have asked meanwhile

        async def ask(pack: Pack) -> None:
            if passed.away is not None or batch.lost:
                return
            found: Found = {}
            try:
                await self._asking.ask(org_id, pack, batch.wanted.topics, found)
            except ModelsAway as away:
                passed.away = passed.away or away
            finally:
                if found:  # paid for, whatever ended it
                    await save([pack.name], found)

        await together(ask(pack) for pack in packs)

    async def _planned(self, org_id: UUID, batch: _Batch) -> list[Pack]:
        """What this claim asks, written down. What another asks right now it leaves alone."""
        items = {item.digest: item for several in batch.items.values() for item in several}
        async with self._db.tenant(org_id) as tx:
            await claims.one_at_a_time(tx, org_id)
            batch.known |= read_verdicts(await store.cached(tx, org_id, list(items)))
            unknown = {digest: item for digest, item in items.items() if digest not in batch.known}
            left_behind = []
            for row in await store.requests_with(tx, org_id, list(unknown)):
                if row["alive"] and row["claim"] != batch.number:
                    for digest in row["digests"]:
                        unknown.pop(digest, None)
                else:
                    left_behind.append(row["digests"])
            plan = planned(unknown, left_behind, self._requests)
            packs = [*plan.again, *plan.new]
            await store.begin_requests(
                tx, org_id, batch.number, [(pack.name, pack.digests) for pack in packs]
            )
        return packs

    async def _save(
        self,
        org_id: UUID,
        batch: _Batch,
        names: Sequence[bytes],
        found: Found,
        passed: Passed,
        saving: Saving | None,
    ) -> None:
        """Keep the verdicts; save the calls that they complete, if the claim still holds.

        Of calls that were erased meanwhile nothing is kept: a verdict quotes them.
        """
        batch.known |= found
        batch.fresh |= found.keys()
        calls = batch.complete()
        judged, dead = await asyncio.to_thread(self._judged, org_id, batch, calls)
        async with self._db.tenant(org_id) as tx:
            there = await store.hold(tx, org_id, {*calls, *batch.calls_with(found)})
            await store.keep(tx, org_id, batch.verdicts(found, there))  # paid for, whoever saves
            if not await claims.renew_claim(tx, org_id, batch.number, batch.lease):
                batch.lost, calls, judged, dead = True, [], {}, {}
            else:
                await store.end_requests(tx, org_id, names)
            saved = await self._write(tx, org_id, batch, judged)
            buried = await self._bury(tx, org_id, batch, dead)
            if saving is not None and saved:
                await saving(tx, len(saved))
        for callid in calls:
            del batch.calls[callid]
        passed.saved += len(saved)
        passed.dead += len(buried)
        self._metrics.judged([judged[callid] for callid in saved])
        for callid in buried:
            self._metrics.dead.labels(dead[callid].reason).inc()

    def _judged(
        self, org_id: UUID, batch: _Batch, calls: Sequence[str]
    ) -> tuple[dict[str, Judged], dict[str, Dead]]:
        judged: dict[str, Judged] = {}
        dead: dict[str, Dead] = {}
        for callid in calls:
            known = [batch.known[item.digest] for item in batch.items[callid]]
            lost = next((one for one in known if isinstance(one, Dead)), None)
            if lost is not None:
                dead[callid] = lost
                continue
            fresh = any(item.digest in batch.fresh for item in batch.items[callid])
            verdict = judged_by_model(
                [one for one in known if isinstance(one, Verdict)],
                batch.turns[callid],
                batch.wanted.topics,
                batch.calls[callid]["call_date"],
                self._asking.analyzer,
                "model" if fresh else "cache",
            )
            judged[callid] = with_label(verdict, self._trained, org_id, batch.turns[callid])
        return judged, dead

    async def _write(
        self, tx: Transaction, org_id: UUID, batch: _Batch, judged: Mapping[str, Judged]
    ) -> list[str]:
        """The calls whose transcript is still the one that was judged."""
        if not judged:
            return []
        saved = await store.still_waiting(tx, org_id, self._versions(batch, judged))
        await claims.write_analyses(
            tx, org_id, [(callid, *columns(judged[callid].analysis)) for callid in saved]
        )
        await store.save_insights(
            tx,
            [
                insight_row(
                    org_id, callid, judged[callid], batch.turns[callid],
                    batch.calls[callid]["duration_ms"], batch.wanted.script,
                )
                for callid in saved
            ],
        )  # fmt: skip
        await saved_analyses(tx, org_id, saved)
        return saved

    async def _bury(
        self, tx: Transaction, org_id: UUID, batch: _Batch, dead: Mapping[str, Dead]
    ) -> list[str]:
        if not dead:
            return []
        buried = await store.still_waiting(tx, org_id, self._versions(batch, dead))
        letters: list[tuple[str, str, str, str]] = [
            (callid, dead[callid].reason, dead[callid].detail, self._asking.analyzer)
            for callid in buried
        ]
        await store.bury(tx, org_id, letters)
        await store.stop_waiting(tx, org_id, buried)
        return buried

    def _versions(self, batch: _Batch, calls: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [(callid, batch.calls[callid]["version"]) for callid in calls]
