"""Customers who are one: merged into another, split off again, each with who did it and when.

A customer who is merged keeps its id in its calls, which count for the other one from then on: search,
graph and portraits follow by the same events as for calls that a source corrects. Merges make a
tree: whoever is merged brings along who was merged into it before, and takes them along when it is
split off.

Imports wait for whoever changes the tree, so that many calls move in several transactions: of a merge
after the one that makes it, of a split before. Whoever is killed in between leaves calls under a customer
that stands under theirs; the same merge or split, asked for again, goes on.
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
from ai_services.enrichment.events import announce_calls
from ai_services.enrichment.store import Merged
from shared.audit import trail
from shared.cursor import Listing, Page, dated
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, InvalidInput, NotFound
from shared.ids import why_unaddressable

MOST_CALLS: Final = 20_000  # that a request moves
STEP: Final = 1_000  # calls that a transaction moves
_UNDER_WAY: Final = "This customer is being erased. There is nothing to merge or split any more."


@dataclass(frozen=True, slots=True)
class Who:
    """A customer: under whom its calls are (itself, unless merged), and whose calls are under it."""

    customer_id: str
    survivor: str
    aliases: Sequence[str]


async def merge(
    db: Relational,
    digests: Digests,
    org_id: UUID,
    customer_id: str,
    into: str,
    *,
    actor: str,
    most: int | None = MOST_CALLS,
) -> Merge:
    """The calls of a customer, and those to come, become another's. The same merge again changes nothing.

    NotFound for a customer without calls, InvalidInput where it would stand for itself or has more
    than `most` calls, Conflict if it was merged into someone else, or one of them was or is erased.
    """
    if customer_id == into:
        raise InvalidInput.of("into", "is the customer itself", "name another one")
    wrong = why_unaddressable(into)
    if wrong is not None or not into.isprintable():
        raise InvalidInput.of("into", *(wrong or ("holds what can't be shown", "leave it out")))
    async with db.tenant(org_id) as tx:
        await alias_store.exclude_others(tx, org_id)
        done = await _merged_before(tx, org_id, customer_id, into)
        if done is None:
            done = await _merge(tx, digests, org_id, customer_id, into, actor, most)
        moved = await _move_up(tx, org_id, customer_id)
    while moved == STEP:
        async with db.tenant(org_id) as tx:
            await alias_store.exclude_others(tx, org_id)
            moved = await _move_up(tx, org_id, customer_id)
    return done


async def _merged_before(
    tx: Transaction, org_id: UUID, customer_id: str, into: str
) -> Merge | None:
    if not await alias_store.is_known(tx, org_id, customer_id):
        raise _no_customer()
    before = await alias_store.active(tx, org_id, customer_id)
    if before is not None and before.into_id != into:
        raise Conflict(
            "This customer was merged into another one. Split that merge first: "
            "GET /api/v1/customers/ID/history shows it."
        )
    return before


async def _merge(
    tx: Transaction,
    digests: Digests,
    org_id: UUID,
    customer_id: str,
    into: str,
    actor: str,
    most: int | None,
) -> Merge:
    """The change of the tree; the calls follow."""
    survivor = await alias_store.top(tx, org_id, into)
    if survivor == customer_id:
        problem = "was merged into this customer, which would stand for itself then"
        raise InvalidInput.of("into", problem, "split that merge first, or merge the other way")
    await _check_not_erased(tx, org_id, digests, (customer_id, into, survivor))
    family = await alias_store.below(tx, org_id, customer_id)
    calls = await alias_store.count_calls(tx, org_id, family)
    if most is not None and calls > most:
        raise _too_many("customer_id", calls, most, "merge the other one into it, or use")
    await alias_store.place(tx, org_id, family, survivor)
    done = await alias_store.insert(tx, org_id, customer_id, into, calls, actor)
    await _record(tx, org_id, "customer.merged", actor, done.merge_id, calls)
    return done


async def _move_up(tx: Transaction, org_id: UUID, customer_id: str) -> int:
    """Some calls of a customer and of those below it to whom they stand under; how many."""
    survivor = await alias_store.top(tx, org_id, customer_id)
    moved = 0
    for one in await alias_store.below(tx, org_id, customer_id):
        if one != survivor and moved < STEP:
            calls = await alias_store.move_calls(tx, org_id, one, survivor, limit=STEP - moved)
            await _announce(tx, org_id, calls, one)
            moved += len(calls)
    return moved


async def split(
    db: Relational,
    org_id: UUID,
    customer_id: str,
    merge_id: UUID,
    *,
    actor: str,
    most: int | None = MOST_CALLS,
) -> Merge:
    """Undo a merge: the calls go back to whom it had merged, with those merged into that one.

    One that was undone before changes nothing. NotFound for a merge that this customer has no part in,
    InvalidInput where more than `most` calls would go back.
    """
    calls, done = 0, None
    while done is None:
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
            family = await alias_store.below(tx, org_id, found.customer_id)
            if most is not None and not calls:
                there = await alias_store.count_calls(tx, org_id, [survivor], family)
                if there > most:
                    raise _too_many("merge_id", there, most, "use")
            moved = await alias_store.move_calls(
                tx, org_id, survivor, found.customer_id, family, limit=STEP
            )
            await _announce(tx, org_id, moved, survivor)
            calls += len(moved)
            if len(moved) < STEP:
                done = await alias_store.split(tx, org_id, merge_id, actor)
                await alias_store.place(tx, org_id, family, found.customer_id)
                await _record(tx, org_id, "customer.split", actor, merge_id, calls)
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


async def _announce(tx: Transaction, org_id: UUID, moved: Sequence[Moved], of: str) -> None:
    if moved:
        callids = frozenset(one.callid for one in moved)
        left = frozenset((one.user_id, of) for one in moved)
        await announce_calls(tx, org_id, Merged(updated=callids, left=left))


async def _record(
    tx: Transaction, org_id: UUID, action: str, actor: str, merge_id: UUID, calls: int
) -> None:
    """By the merge's id: the log is never changed, and must hold nothing of whom may be erased."""
    await trail.record(
        tx, org_id, at=datetime.now(UTC), actor=actor, action=action, target=f"merge:{merge_id}",
        details={"calls": calls},
    )  # fmt: skip


def _too_many(field: str, calls: int, most: int, fix: str) -> InvalidInput:
    return InvalidInput.of(
        field, f"is about {calls:,} calls; a request moves {most:,} at most",
        f"{fix} `looma customers`, which may take its time",
    )  # fmt: skip


def _no_customer() -> NotFound:
    return NotFound("There is no such customer in your organisation.")
