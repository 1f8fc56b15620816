"""The steps of an erasure, in transactions of whoever takes them: a request, a job, a command.

Imports wait for those that delete calls, never while what they keep of rows is searched. What a step
deletes is announced in it, so that search and graph follow; with the last one the receipt is written and
portraits are computed again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from ai_services.enrichment.customers import alias_store, erasure_store, trace_store
from ai_services.enrichment.customers.erasure_store import Erasure
from ai_services.enrichment.customers.receipt import receipt_hash, sought
from ai_services.enrichment.deleting.calls import delete_calls
from ai_services.enrichment.deleting.store import Gone
from shared.audit import trail
from shared.data_access.ports import Transaction
from shared.errors import NotFound
from shared.jobs.enqueue import enqueue

AT_ONCE: Final = 500  # calls of a transaction; who has more is erased by a job
TRACES_AT_ONCE: Final = 10_000  # that are searched in one; where imports keep more, a job does it
Begin = Callable[[], AbstractAsyncContextManager[Transaction]]
_PORTRAITS: Final = "compute_portraits"  # of the portrait service
_PERIODS: Final = ("week", "month", "quarter")
_log = structlog.get_logger("looma.erasure")


async def step(begin: Begin, org_id: UUID, erasure_id: UUID) -> Erasure:
    """Erase the next calls of a customer, and with the last of them the rest. NotFound.

    What imports keep of them goes first, so that whoever is killed leaves no call without that.
    """
    async with begin() as tx:
        ids = await _next_ids(tx, org_id, erasure_id)
    await forget(begin, org_id, erasure_id, ids)
    async with begin() as tx:
        return await _erase(tx, org_id, erasure_id, ids)


async def _next_ids(tx: Transaction, org_id: UUID, erasure_id: UUID) -> list[str]:
    """Calls, or with the last of them gone the customers."""
    begun = await erasure_store.get(tx, org_id, erasure_id)
    if begun is None:
        raise NotFound("There is no such erasure in your organisation.")
    if begun.subject is None:
        return []
    family = await alias_store.below(tx, org_id, begun.subject)
    return await erasure_store.callids(tx, org_id, family, AT_ONCE) or family


async def _erase(tx: Transaction, org_id: UUID, erasure_id: UUID, ids: Sequence[str]) -> Erasure:
    """The calls among these ids; where the customer has none any more, its merges, and that is all."""
    await alias_store.exclude_others(tx, org_id)
    begun = await erasure_store.lock(tx, org_id, erasure_id)
    assert begun is not None  # it was there, and none is ever deleted
    if begun.subject is None:
        return begun
    named = set(ids)
    family = await alias_store.below(tx, org_id, begun.subject)
    callids = await erasure_store.next_calls(tx, org_id, family, AT_ONCE)
    if not callids and named.issuperset(family):
        await alias_store.forget(tx, org_id, family)
        return await finish(tx, org_id, erasure_id)
    gone = await delete_calls(tx, org_id, [one for one in callids if one in named])
    await erasure_store.add(tx, org_id, erasure_id, gone, 0)
    found = await erasure_store.get(tx, org_id, erasure_id)
    assert found is not None  # it is locked
    return found


async def forget(begin: Begin, org_id: UUID, erasure_id: UUID, ids: Sequence[str]) -> None:
    """What imports keep of these ids, page by page, each in a transaction that `begin` begins.

    Nobody is kept waiting: imports under way keep nothing of whom is erased, but where what is erased
    may come in again.
    """
    long, pattern = sought(ids)
    if not long:
        return
    async with begin() as tx:
        wanted = await trace_store.seek(tx, long, pattern)
    for kept in (trace_store.REJECTS, trace_store.NOTES, trace_store.NOTES_OF_RUNS):
        place: trace_store.Place | None = trace_store.START
        while place is not None:
            async with begin() as tx:
                rows, place = await trace_store.forget(tx, org_id, kept, wanted, place)
                if rows and kept is trace_store.REJECTS:
                    await erasure_store.add(tx, org_id, erasure_id, (), rows)


def within(tx: Transaction) -> Begin:
    """For what is small enough to be done in one transaction."""

    @asynccontextmanager
    async def begin() -> AsyncIterator[Transaction]:
        yield tx

    return begin


async def finish(tx: Transaction, org_id: UUID, erasure_id: UUID) -> Erasure:
    found = await erasure_store.lock(tx, org_id, erasure_id)
    assert found is not None  # it was begun
    if found.finished_at is not None:
        return found
    if found.transcripts:
        await erasure_store.forget_verdicts(tx, org_id)
    at = datetime.now(UTC)
    told = receipt_hash(org_id, found, at)
    done = await erasure_store.finish(tx, org_id, erasure_id, at, told)
    await _compute_again(tx, org_id, done)
    await trail.record(
        tx, org_id, at=at, actor=done.requested_by, action=f"{done.kind}.erased",
        target=f"erasure:{erasure_id}",
        details={
            "calls": done.calls, "transcripts": done.transcripts, "rejects": done.rejects,
            "customers": done.customers, "receipt": told,
        },
    )  # fmt: skip
    _log.info("erased", org_id=str(org_id), erasure_id=str(erasure_id), calls=done.calls)
    return done


async def _compute_again(tx: Transaction, org_id: UUID, done: Erasure) -> None:
    """The portraits of all periods that had calls."""
    if done.first_day is None or done.last_day is None:
        return
    args = {
        "period_types": list(_PERIODS),
        "first": done.first_day.isoformat(),
        "last": done.last_day.isoformat(),
    }
    with suppress(NotFound):  # the portrait service has never run: there are none
        await enqueue(tx, _PORTRAITS, args, org_id=org_id, key=f"erasure {done.erasure_id}")


def callids_of(gone: Sequence[Gone]) -> list[str]:
    return [one.callid for one in gone]
