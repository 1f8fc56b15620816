"""The audit log: one hash-chained, append-only sequence per organisation.

Changing, removing or reordering entries breaks the chain at the first one touched. A cut-off
tail is found by `audit_head`, which only the database's own trigger writes. Whoever may rewrite
both tables at will can forge a whole new chain: against that, keep the head that `verify`
returns somewhere else and hand it back later as `anchor`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.audit import store
from shared.audit.chain import Anchor, Broken, Chain, Entry
from shared.cursor import Listing, Page, number
from shared.data_access.ports import Relational, Transaction

# No floats: JSON has many spellings of one number, and the database keeps another.
Details = Mapping[str, str | int | bool | Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Verification:
    """Where the intact part of a chain ends, and what is wrong with the entry after it."""

    head: Anchor
    broken: Broken | None = None


async def record(
    tx: Transaction,
    org_id: UUID,
    *,
    at: datetime,
    actor: str,
    action: str,
    target: str = "",
    details: Details | None = None,
) -> None:
    """Append an entry in the transaction of the change that it is about.

    Appending locks the organisation's chain until the transaction ends: do it last.
    """
    end = await store.lock(tx, org_id)
    entry = Entry(org_id, end.seq + 1, at, actor, action, target, dict(details or {}))
    await store.append(tx, entry, end.hash, entry.hash_after(end.hash))


async def list_entries(
    relational: Relational, org_id: UUID, *, limit: int, cursor: str | None
) -> Page[Entry]:
    """Entries, newest first."""
    pages = Listing("audit", (str(org_id),), number)
    before = pages.position(cursor)
    async with relational.tenant(org_id, readonly=True) as tx:
        entries = await store.entries_before(tx, org_id, before, limit + 1)
    return pages.page(entries, limit, lambda entry: [entry.seq])


async def verify(
    relational: Relational, org_id: UUID, *, anchor: Anchor | None = None, batch: int = 1000
) -> Verification:
    """Read the chain of `org_id` from its start, `batch` entries at a time.

    Entries may be added meanwhile: the log may end anywhere between its head at the start and
    its head at the end.
    """
    async with relational.tenant(org_id, readonly=True) as tx:
        first = await store.head(tx, org_id)
        chain = Chain(first, anchor or first)
        while links := await store.links_after(tx, org_id, chain.end.seq, batch):
            for link in links:
                broken = chain.follow(link)
                if broken is not None:
                    return Verification(chain.end, broken)
        last = await store.head(tx, org_id)
    return Verification(chain.end, chain.finish(last))
