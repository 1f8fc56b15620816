"""The steps of an erasure, each in the transaction of whoever takes it: a request, a job, a command.

What a step deletes is announced in it, so that search and graph follow; with the last one the receipt is
written and portraits are computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from ai_services.enrichment.customers import alias_store, erasure_store
from ai_services.enrichment.customers.erasure_store import Erasure
from ai_services.enrichment.customers.portraits import compute_again
from ai_services.enrichment.customers.receipt import receipt_hash, sought
from ai_services.enrichment.deleting.calls import delete_calls
from ai_services.enrichment.deleting.store import Gone
from shared.audit import trail
from shared.data_access.ports import Transaction
from shared.errors import NotFound

AT_ONCE: Final = 500  # calls of a transaction; who has more is erased by a job
_log = structlog.get_logger("looma.erasure")


async def step(tx: Transaction, org_id: UUID, erasure_id: UUID, limit: int = AT_ONCE) -> Erasure:
    """Erase the next calls of a customer, and with the last of them the rest. NotFound."""
    await alias_store.exclude_others(tx, org_id)
    begun = await erasure_store.lock(tx, org_id, erasure_id)
    if begun is None:
        raise NotFound("There is no such erasure in your organisation.")
    if begun.subject is None:
        return begun
    callids = await erasure_store.next_calls(tx, org_id, begun.subject, limit)
    if callids:
        gone = await delete_calls(tx, org_id, callids)
        await forget(tx, org_id, erasure_id, gone, callids_of(gone))
        found = await erasure_store.get(tx, org_id, erasure_id)
        assert found is not None  # it is locked
        return found
    family = await alias_store.below(tx, org_id, begun.subject)
    await forget(tx, org_id, erasure_id, (), family)
    await alias_store.forget(tx, org_id, family)
    return await finish(tx, org_id, erasure_id)


async def forget(
    tx: Transaction, org_id: UUID, erasure_id: UUID, gone: Sequence[Gone], ids: Sequence[str]
) -> None:
    """What else there is of deleted calls, and of these ids."""
    long, patterns = sought(ids)
    rejects = await erasure_store.delete_rejects(tx, org_id, long, patterns)
    await erasure_store.delete_notes(tx, org_id, long, patterns)
    await erasure_store.add(tx, org_id, erasure_id, gone, rejects)


async def finish(tx: Transaction, org_id: UUID, erasure_id: UUID) -> Erasure:
    found = await erasure_store.lock(tx, org_id, erasure_id)
    assert found is not None  # it was begun
    if found.transcripts:
        await erasure_store.forget_verdicts(tx, org_id)
    at = datetime.now(UTC)
    told = receipt_hash(org_id, found, at)
    done = await erasure_store.finish(tx, org_id, erasure_id, at, told)
    if done.first_day is not None and done.last_day is not None:
        await compute_again(tx, org_id, done.first_day, done.last_day, f"erasure {erasure_id}")
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


def callids_of(gone: Sequence[Gone]) -> list[str]:
    return [one.callid for one in gone]
