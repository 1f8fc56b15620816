"""Customers who are one: merged into another, split off again, each with who did it and when.

A customer who is merged keeps its id in its calls, which count for the other one from then on: search,
graph and portraits follow by the same events as for calls that a source corrects. Merges make a
tree: whoever is merged brings along who was merged into it before, and takes them along when it is
split off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from ai_services.enrichment.customers import alias_store, erasure_store
from ai_services.enrichment.customers.alias_store import Merge, Moved
from ai_services.enrichment.customers.digests import Digests
from ai_services.enrichment.customers.portraits import compute_again
from ai_services.enrichment.events import announce_calls
from ai_services.enrichment.store import Merged
from shared.audit import trail
from shared.cursor import Listing, Page, dated
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, InvalidInput, NotFound
from shared.ids import why_unaddressable

_UNDER_WAY: Final = "This customer is being erased. There is nothing to merge or split any more."


@dataclass(frozen=True, slots=True)
class Who:
    """A customer: under whom its calls are (itself, unless merged), and whose calls are under it."""

    customer_id: str
    survivor: str
    aliases: Sequence[str]


async def merge(
    db: Relational, digests: Digests, org_id: UUID, customer_id: str, into: str, *, actor: str
) -> Merge:
    """The calls of a customer, and those to come, become another's. The same merge again changes nothing.

    NotFound for a customer without calls, InvalidInput where it would stand for itself, Conflict if
    it was merged into someone else, or one of them was or is erased.
    """
    if customer_id == into:
        raise InvalidInput.of("into", "is the customer itself", "name another one")
    wrong = why_unaddressable(into)
    if wrong is not None or not into.isprintable():
        raise InvalidInput.of("into", *(wrong or ("holds what can't be shown", "leave it out")))
    async with db.tenant(org_id) as tx:
        await alias_store.exclude_others(tx, org_id)
        if not await alias_store.is_known(tx, org_id, customer_id):
            raise _no_customer()
        before = await alias_store.active(tx, org_id, customer_id)
        if before is not None:
            if before.into_id == into:
                return before
            raise Conflict(
                "This customer was merged into another one. Split that merge first: "
                "GET /api/v1/customers/ID/history shows it."
            )
        survivor = await alias_store.top(tx, org_id, into)
        if survivor == customer_id:
            problem = "was merged into this customer, which would stand for itself then"
            raise InvalidInput.of("into", problem, "split that merge first, or merge the other way")
        await _check_not_erased(tx, org_id, digests, (customer_id, into, survivor))
        family = await alias_store.below(tx, org_id, customer_id)
        moved = await alias_store.move_calls(tx, org_id, customer_id, survivor)
        await alias_store.place(tx, org_id, family, survivor)
        done = await alias_store.insert(tx, org_id, customer_id, into, len(moved), actor)
        await _follow(tx, org_id, moved, customer_id, f"merge {done.merge_id}")
        await _record(tx, org_id, "customer.merged", actor, done.merge_id, len(moved))
    return done


async def split(
    db: Relational, org_id: UUID, customer_id: str, merge_id: UUID, *, actor: str
) -> Merge:
    """Undo a merge: the calls go back to whom it had merged, with those merged into that one.

    One that was undone before changes nothing. NotFound for a merge that this customer has no part in.
    """
    async with db.tenant(org_id) as tx:
        await alias_store.exclude_others(tx, org_id)
        found = await alias_store.get(tx, org_id, merge_id)
        if found is None or customer_id not in (found.customer_id, found.into_id):
            raise NotFound(
                "This customer has no such merge. GET /api/v1/customers/ID/history lists them."
            )
        if found.split_at is not None:
            return found
        survivor = await alias_store.top(tx, org_id, found.customer_id)
        if await erasure_store.is_under_way(tx, org_id, [survivor]):
            raise Conflict(_UNDER_WAY)
        done = await alias_store.split(tx, org_id, merge_id, actor)
        assert done is not None  # nobody else splits meanwhile
        family = await alias_store.below(tx, org_id, found.customer_id)
        moved = await alias_store.move_calls(tx, org_id, survivor, found.customer_id, family)
        await alias_store.place(tx, org_id, family, found.customer_id)
        await _follow(tx, org_id, moved, survivor, f"split {merge_id}")
        await _record(tx, org_id, "customer.split", actor, merge_id, len(moved))
    return done


async def history(
    db: Relational, org_id: UUID, customer_id: str, *, cursor: str | None, limit: int
) -> tuple[Who, Page[Merge]]:
    """Who the customer is now, and the merges of all who are one with it, newest first. NotFound."""
    pages = Listing("customer_merges", (str(org_id), customer_id), dated)
    before = pages.position(cursor)
    async with db.tenant(org_id, readonly=True) as tx:
        if not await alias_store.is_known(tx, org_id, customer_id):
            raise _no_customer()
        survivor = await alias_store.top(tx, org_id, customer_id)
        aliases = await alias_store.below(tx, org_id, customer_id)
        family = {survivor, *aliases}
        merges = await alias_store.history(tx, org_id, sorted(family), before, limit + 1)
    who = Who(customer_id, survivor, [one for one in aliases if one != customer_id])
    return who, pages.page(merges, limit, lambda one: (one.merged_at, one.merge_id))


async def _check_not_erased(
    tx: Transaction, org_id: UUID, digests: Digests, customers: Sequence[str]
) -> None:
    if await erasure_store.is_under_way(tx, org_id, customers):
        raise Conflict(_UNDER_WAY)
    known = [digests.of("customer", one) for one in customers]
    if await erasure_store.kept_out(tx, org_id, known):
        raise Conflict("One of the two was erased and stays out: it can't be merged.")


async def _follow(tx: Transaction, org_id: UUID, moved: Sequence[Moved], of: str, why: str) -> None:
    """Tell whoever derives something of the calls, and have the portraits of their days computed."""
    if moved:
        callids = frozenset(one.callid for one in moved)
        left = frozenset((one.user_id, of) for one in moved)
        await announce_calls(tx, org_id, Merged(updated=callids, left=left))
        days = [one.call_date for one in moved]
        await compute_again(tx, org_id, min(days), max(days), why)


async def _record(
    tx: Transaction, org_id: UUID, action: str, actor: str, merge_id: UUID, calls: int
) -> None:
    """By the merge's id: the log is never changed, and must hold nothing of whom may be erased."""
    await trail.record(
        tx, org_id, at=datetime.now(UTC), actor=actor, action=action, target=f"merge:{merge_id}",
        details={"calls": calls},
    )  # fmt: skip


def _no_customer() -> NotFound:
    return NotFound("There is no such customer in your organisation.")
