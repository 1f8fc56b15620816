"""Calls that come in: they land with whom their customer is one, or stay out if they were erased."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from ai_services.enrichment.customers import alias_store, erasure_store, staging_store
from ai_services.enrichment.customers.digests import Digests
from ai_services.enrichment.customers.staging_store import Staged
from shared.data_access.ports import Transaction

_NONE: Final = frozenset[str]()


async def settle(tx: Transaction, org_id: UUID, digests: Digests) -> frozenset[str]:
    """Put the staged calls right, and take away those that stay out; their callids.

    Until `tx` ends nobody merges, splits or begins to erase.
    """
    await alias_store.exclude_changes(tx, org_id)
    if not await staging_store.bring_home(tx, org_id):
        return _NONE
    callids = await kept_out(tx, org_id, await staging_store.staged(tx), digests)
    if callids:
        await staging_store.leave_out(tx, sorted(callids))
    return callids


async def kept_out(
    tx: Transaction, org_id: UUID, calls: Sequence[Staged], digests: Digests
) -> frozenset[str]:
    """Those of the calls that stay out."""
    named = await asyncio.to_thread(_digested, calls, digests)
    out = await erasure_store.kept_out(tx, org_id, sorted(named))
    return frozenset(callid for digest in out for callid in named[digest])


def _digested(staged: Sequence[Staged], digests: Digests) -> dict[bytes, list[str]]:
    """Digest of a call or a customer → the callids that are to stay out with it."""
    of_customer: dict[str, list[str]] = {}
    named: dict[bytes, list[str]] = {}
    for one in staged:
        named[digests.of("call", one.callid)] = [one.callid]
        for customer in {one.customer_id, one.given_customer_id} - {None}:
            assert customer is not None  # None was taken out
            of_customer.setdefault(customer, []).append(one.callid)
    for customer, callids in of_customer.items():
        named[digests.of("customer", customer)] = callids
    return named
