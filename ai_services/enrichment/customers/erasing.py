"""Erasure: a call, or a customer with all that is theirs, gone from everywhere.

PostgreSQL forgets in transactions, each with the events by which search and graph follow; portraits
of the days are computed again. What is large is done by a job, step by step: whoever is killed, the
next one goes on. A receipt stays, and keyed digests by which what was erased stays out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from ai_services.enrichment.customers import alias_store, erasure_store, trace_store
from ai_services.enrichment.customers.digests import Digests, Kind
from ai_services.enrichment.customers.erasure_store import Erasure
from ai_services.enrichment.customers.forgetting import (
    AT_ONCE,
    TRACES_AT_ONCE,
    callids_of,
    finish,
    forget,
    within,
)
from ai_services.enrichment.customers.job import ERASE_CUSTOMER
from ai_services.enrichment.deleting.calls import delete_calls
from shared.audit import trail
from shared.data_access.ports import Relational, Transaction
from shared.errors import NotFound
from shared.jobs.enqueue import enqueue
from shared.jobs.waiting import until_ended


@dataclass(frozen=True, slots=True)
class Order:
    """Who has it erased; `keep_out`: it doesn't come back with the next import."""

    digests: Digests
    actor: str
    keep_out: bool = True


async def erase_call(db: Relational, org_id: UUID, callid: str, order: Order) -> Erasure:
    """The call with its transcript and the rejected rows that name it. NotFound for what never was.

    Asked for again, it is the erasure there is, and goes on if that was interrupted.
    """
    digest = order.digests.of("call", callid)
    async with db.tenant(org_id) as tx:
        await alias_store.exclude_others(tx, org_id)
        gone = await delete_calls(tx, org_id, [callid])
        if gone:
            begun = await _begin(tx, org_id, "call", callid, [digest], order)
            await erasure_store.add(tx, org_id, begun.erasure_id, gone, 0)
        else:
            begun = _erased(await erasure_store.of_id(tx, org_id, digest), "call")
    if begun.finished_at is not None:
        return begun
    await forget(partial(db.tenant, org_id), org_id, begun.erasure_id, [callid])
    async with db.tenant(org_id) as tx:
        return await finish(tx, org_id, begun.erasure_id)


async def erase_customer(
    db: Relational,
    org_id: UUID,
    customer_id: str,
    order: Order,
    *,
    at_once: int = AT_ONCE,
    traces: int = TRACES_AT_ONCE,
) -> Erasure:
    """The customer, and all who are one with it: calls, transcripts, numbers, merges, rejected rows.

    With more than `at_once` calls, or where imports keep more than `traces` rejected rows and notes, a
    job does it: `job_id`. Asked for again, it is the erasure there is. NotFound for who never was.
    """
    async with db.tenant(org_id) as tx:
        await alias_store.exclude_others(tx, org_id)
        before = await erasure_store.of_id(tx, org_id, order.digests.of("customer", customer_id))
        if before is not None and before.finished_at is None:
            return await _give_to_job(tx, org_id, before)
        if not await alias_store.is_known(tx, org_id, customer_id):
            return _erased(before, "customer")
        subject = await alias_store.top(tx, org_id, customer_id)
        family = await alias_store.below(tx, org_id, subject)
        known = [order.digests.of("customer", one) for one in (subject, *family)]
        begun = await _begin(tx, org_id, "customer", subject, known, order)
        if (
            await erasure_store.count_calls(tx, org_id, family, at_once + 1) > at_once
            or await trace_store.count(tx, org_id, traces + 1) > traces
        ):
            return await _give_to_job(tx, org_id, begun)
        callids = await erasure_store.next_calls(tx, org_id, family, at_once)
        gone = await delete_calls(tx, org_id, callids)
        await erasure_store.add(tx, org_id, begun.erasure_id, gone, 0)
        await forget(within(tx), org_id, begun.erasure_id, [*family, *callids_of(gone)])
        await alias_store.forget(tx, org_id, family)
        return await finish(tx, org_id, begun.erasure_id)


async def get(db: Relational, org_id: UUID, erasure_id: str) -> Erasure:
    """NotFound."""
    try:
        known = UUID(erasure_id)
    except ValueError:
        raise _no_erasure() from None
    async with db.tenant(org_id, readonly=True) as tx:
        found = await erasure_store.get(tx, org_id, known)
    if found is None:
        raise _no_erasure()
    return found


async def until_over(db: Relational, org_id: UUID, begun: Erasure, seconds: float) -> Erasure:
    """As it stands once its job has ended, or after so many seconds."""
    if begun.finished_at is not None or begun.job_id is None or not seconds:
        return begun
    await until_ended(db, org_id, begun.job_id, seconds)
    return await get(db, org_id, str(begun.erasure_id))


async def readmit(db: Relational, org_id: UUID, erasure_id: str, *, actor: str) -> int:
    """Let be brought in again what this erasure keeps out: of how many ids. NotFound."""
    found = await get(db, org_id, erasure_id)
    async with db.tenant(org_id) as tx:
        ids = await erasure_store.let_in(tx, org_id, found.erasure_id)
        if ids:
            await trail.record(
                tx, org_id, at=datetime.now(UTC), actor=actor, action="erasure.readmitted",
                target=f"erasure:{found.erasure_id}", details={"ids": ids},
            )  # fmt: skip
    return ids


async def _begin(
    tx: Transaction, org_id: UUID, kind: Kind, subject: str, known: Sequence[bytes], order: Order
) -> Erasure:
    """`known` are the digests of all ids, the subject's first."""
    begun = await erasure_store.begin(
        tx, org_id, kind, known[0], subject,
        actor=order.actor, customers=len(set(known)) if kind == "customer" else 0,
    )  # fmt: skip
    digests = sorted(set(known))
    await erasure_store.remember(tx, org_id, begun.erasure_id, digests, kept_out=order.keep_out)
    return begun


async def _give_to_job(tx: Transaction, org_id: UUID, begun: Erasure) -> Erasure:
    """Unless one has it already, and isn't over."""
    args = {"erasure_id": str(begun.erasure_id)}
    queued = await enqueue(tx, ERASE_CUSTOMER, args, org_id=org_id, key=str(begun.erasure_id))
    await erasure_store.give_to_job(tx, org_id, begun.erasure_id, queued.job_id)
    found = await erasure_store.get(tx, org_id, begun.erasure_id)
    assert found is not None  # it was begun
    return found


def _erased(before: Erasure | None, kind: Kind) -> Erasure:
    if before is None:
        raise NotFound(f"There is no such {kind} in your organisation.")
    return before


def _no_erasure() -> NotFound:
    return NotFound("There is no such erasure in your organisation.")
