"""A backlog is judged by batches: within a day, for less, and beside what comes in.

What a batch brings is kept as verdicts, no more: its calls wait again then, and a pass finds the verdicts
of nearly all of them. It checks and saves those, and asks itself about what the batch has not
answered, or not well, with all that belongs to it: repairs, halves, dead letters.

A batch is made with a key that is written down before it is. Who takes over from a killed process
makes it again with that key, and gets the batch that there is; verdicts that are kept twice count once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid4

import structlog

from ai_services.enrichment.analysis import store as claims
from ai_services.enrichment.analysis.chain import backfill_store, store
from ai_services.enrichment.analysis.chain.asking.ask import Asking
from ai_services.enrichment.analysis.chain.asking.packing import packed
from ai_services.enrichment.analysis.chain.asking.verdict import Verdict
from ai_services.enrichment.analysis.chain.rules import Requests
from ai_services.enrichment.analysis.chain.transcript import Item, basis_of, items_of, normalised
from ai_services.enrichment.analysis.chain.wanted import Wanted, wanted_by
from ai_services.enrichment.analysis.rows import to_turns
from shared.data_access.ports import Relational, Row
from shared.errors import LoomaError, NotFound, StoreError, UpstreamError
from shared.llm.batches import Ended, forget, look_at, make_batch, send_requests

_CALLS: Final = 1_000  # of a batch, and tokens: what a process has in memory
_TOKENS: Final = 3_000_000
_MOST: Final = 50  # batches of an organisation under way
_HELD_S: Final = 900.0  # beyond what sending one may take
_LOOK_S: Final = 1.0  # between two looks
_PAUSE_S: Final = 600.0  # without batches, when one could not be made or brought nothing
_log = structlog.get_logger("looma.analysis")

Packs = Mapping[str, Mapping[str, str]]  # request -> id -> digest


class Backfill:
    """`run` before a pass: takes what is answered, and sends what waits if that is enough."""

    def __init__(self, db: Relational, asking: Asking, requests: Requests) -> None:
        self._db = db
        self._asking = asking
        self._requests = requests
        self._not_before: dict[UUID, float] = {}

    async def run(self, org_id: UUID) -> None:
        """What fails is left for later, or to the pass."""
        async with self._db.tenant(org_id) as tx:
            held = await backfill_store.hold(tx, org_id, _HELD_S)
        for one in held:
            await self._look_after(org_id, one)
        after: str | None = ""
        while after is not None and time.monotonic() >= self._not_before.get(org_id, 0.0):
            after = await self._begin(org_id, after)

    # Sending.

    async def _begin(self, org_id: UUID, after: str) -> str | None:
        """Send the next of what waits, behind the call `after`; the last of these, None at the end.

        Calls whose verdicts are there already, and the few that are too few, are left to the pass.
        """
        least = self._requests.backfill_from
        async with self._db.tenant(org_id) as tx:
            await claims.one_at_a_time(tx, org_id)
            free = await backfill_store.free(tx, org_id, after, max(_CALLS, least))
            if len(free) < least or await backfill_store.count(tx, org_id) >= _MOST:
                return None
            names = free[:_CALLS]
            wanted = await wanted_by(tx, org_id)
            turns = await backfill_store.turns(tx, org_id, names)
            items = await asyncio.to_thread(self._items, turns, wanted)
            known = await store.cached(
                tx, org_id, [one.digest for some in items.values() for one in some]
            )
            asked, last = _chosen(names, items, known)
            if last == names[-1] and len(asked) < min(least, _CALLS):
                return last
            backfill = uuid4()
            await backfill_store.begin(tx, org_id, backfill, list(asked), _HELD_S)
        to_ask = {one.digest: one for some in asked.values() for one in some}
        try:
            await self._send(org_id, backfill, list(to_ask.values()), wanted)
        except LoomaError as error:
            self._later(org_id, error.message)
        return last

    async def _send(
        self, org_id: UUID, backfill: UUID, items: Sequence[Item], wanted: Wanted
    ) -> None:
        requests, packs = await asyncio.to_thread(self._requested, org_id, items, wanted)
        try:
            file = await send_requests(self._asking.client(org_id), requests)
        except LoomaError:  # nothing was made of it
            await self._end(org_id, backfill)
            raise
        async with self._db.tenant(org_id) as tx:
            ready = await backfill_store.ready(tx, org_id, backfill, packs, file)
        if ready:
            await self._make(org_id, backfill, file)

    async def _make(self, org_id: UUID, backfill: UUID, file: str) -> None:
        """Raises what keeps it from being made; where that is for good, its calls wait no longer."""
        try:
            batch = await make_batch(self._asking.client(org_id), file, str(backfill))
        except (UpstreamError, StoreError):  # it may have been made
            async with self._db.tenant(org_id) as tx:
                await backfill_store.let_go(tx, org_id, backfill, _LOOK_S)
            raise
        except LoomaError:
            await self._end(org_id, backfill)
            raise
        async with self._db.tenant(org_id) as tx:
            await backfill_store.made(tx, org_id, backfill, batch)
            await backfill_store.let_go(tx, org_id, backfill, 0.0)
        _log.info("analysis_batch_made", org_id=str(org_id), batch=batch)

    def _items(self, turns: Mapping[str, Any], wanted: Wanted) -> dict[str, list[Item]]:
        basis = basis_of(self._asking.analyzer, wanted.topics)
        tokens = self._requests.request_tokens
        return {
            callid: items_of(normalised(to_turns(said)), basis, tokens)
            for callid, said in turns.items()
        }

    def _requested(
        self, org_id: UUID, items: Sequence[Item], wanted: Wanted
    ) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
        """The bodies by the names of their requests, and what each asks about."""
        requests: dict[str, Any] = {}
        packs: dict[str, dict[str, str]] = {}
        for pack in packed(items, self._requests):
            name = pack.name.hex()
            requests[name], asked = self._asking.request(org_id, pack, wanted.topics)
            packs[name] = {call: digest.hex() for call, digest in asked.items()}
        return requests, packs

    # Taking.

    async def _look_after(self, org_id: UUID, row: Row) -> None:
        backfill: UUID = row["backfill"]
        try:
            if row["file"] is None:  # its sender was killed before anything was made
                await self._end(org_id, backfill)
                return
            if row["batch"] is None:
                await self._make(org_id, backfill, row["file"])
                return
            ended = await look_at(self._asking.client(org_id), row["batch"])
            if ended is not None:
                await self._take(org_id, backfill, row["packs"], ended)
                await forget(self._asking.client(org_id), row["batch"])
                return
        except NotFound as error:
            await self._end(org_id, backfill)
            self._later(org_id, error.message)
            return
        except LoomaError as error:
            _log.warning("analysis_batch_waits", org_id=str(org_id), text=error.message)
        async with self._db.tenant(org_id) as tx:
            await backfill_store.let_go(tx, org_id, backfill, _LOOK_S)

    async def _take(self, org_id: UUID, backfill: UUID, packs: Packs, ended: Ended) -> None:
        """Keep its verdicts on what is still there: calls may have been erased since."""
        verdicts = await asyncio.to_thread(self._read, packs, ended)
        async with self._db.tenant(org_id) as tx:
            names = await backfill_store.calls(tx, org_id, backfill)
            turns = await backfill_store.turns(tx, org_id, await store.hold(tx, org_id, names))
            items = await asyncio.to_thread(self._items, turns, await wanted_by(tx, org_id))
            there = {one.digest for some in items.values() for one in some}
            kept = [
                (digest, one.model_dump(mode="json"))
                for digest, one in verdicts.items()
                if digest in there
            ]
            await store.keep(tx, org_id, kept)
            await backfill_store.end(tx, org_id, backfill)
        _log.info(
            "analysis_batch_ended", org_id=str(org_id), status=ended.status, verdicts=len(kept)
        )
        if not kept or ended.status != "completed":  # what is left has waited for long enough
            self._later(org_id, f"A batch is {ended.status}, with {len(kept)} verdicts.")

    def _read(self, packs: Packs, ended: Ended) -> dict[bytes, Verdict]:
        verdicts: dict[bytes, Verdict] = {}
        for name, asked in packs.items():
            answer = ended.answers.get(name)
            if answer is not None:
                digests = {call: bytes.fromhex(digest) for call, digest in asked.items()}
                verdicts |= self._asking.read(digests, answer)
        return verdicts

    async def _end(self, org_id: UUID, backfill: UUID) -> None:
        async with self._db.tenant(org_id) as tx:
            await backfill_store.end(tx, org_id, backfill)

    def _later(self, org_id: UUID, why: str) -> None:
        self._not_before[org_id] = time.monotonic() + _PAUSE_S
        _log.warning("analysis_without_batches", org_id=str(org_id), text=why)


def _chosen(
    names: Sequence[str], items: Mapping[str, Sequence[Item]], known: Mapping[bytes, Any]
) -> tuple[dict[str, list[Item]], str]:
    """What is unknown of these calls, as many as a batch takes, and the last one that was looked at."""
    chosen: dict[str, list[Item]] = {}
    tokens = 0
    for name in names:
        unknown = [one for one in items.get(name, ()) if one.digest not in known]
        if unknown:
            chosen[name] = unknown
            tokens += sum(one.tokens for one in unknown)
        if tokens > _TOKENS:
            return chosen, name
    return chosen, names[-1]
