"""Calls that come in: they land with whom their customer is one, or stay out if they were erased."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from ai_services.enrichment.customers import alias_store, erasure_store, staging_store
from ai_services.enrichment.customers.digests import Digests
from ai_services.enrichment.customers.receipt import names_in
from ai_services.enrichment.customers.staging_store import Staged
from shared.data_access.ports import Transaction

_NONE: Final = frozenset[str]()
_TEXTS: Final = 500  # whose ids are looked up together


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


async def nameless(
    tx: Transaction, org_id: UUID, texts: Sequence[str], digests: Digests
) -> list[bool]:
    """Which of the texts, rows that were refused for instance, name nothing that stays out.

    Until `tx` ends nobody begins to erase: what is kept of the others is found by who does then.
    """
    await alias_store.exclude_changes(tx, org_id)
    kept = [True] * len(texts)
    if not texts or not await erasure_store.keeps_out(tx, org_id):
        return kept
    for start in range(0, len(texts), _TEXTS):
        part = texts[start : start + _TEXTS]
        named = await asyncio.to_thread(_named, part, digests)
        for digest in await erasure_store.kept_out(tx, org_id, sorted(named)):
            for place in named[digest]:
                kept[start + place] = False
    return kept


def _named(texts: Sequence[str], digests: Digests) -> dict[bytes, set[int]]:
    """Digest of whatever may be an id in a text → the places of the texts that hold it."""
    holding: dict[str, set[int]] = {}
    for place, text in enumerate(texts):
        for one in names_in(text):
            holding.setdefault(one, set()).add(place)
    return {
        digests.of(kind, one): places
        for one, places in holding.items()
        for kind in ("call", "customer")
    }


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
