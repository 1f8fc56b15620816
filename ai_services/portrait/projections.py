"""Portrait vectors in the vector store, refilled from Postgres at any time.

Quarters are projected: a week or a month holds too few calls of an account for its rates to
say whom it resembles. Events name a period, and whose snapshots have changed where these are few; what is written is what Postgres says now, so an
event applied twice, or late, does no harm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from ai_services.portrait import store
from ai_services.portrait.figures import Figures
from ai_services.portrait.period import PeriodType
from ai_services.portrait.vector import MODEL_VERSION, vector
from shared.data_access.access import UnifiedDataAccess
from shared.data_access.outbox.relay import OutboxEvent, Projection
from shared.data_access.ports import Relational, VectorItem, Vectors

COLLECTION: Final = "portrait"
PROJECTED: Final[PeriodType] = "quarter"
_PAGE: Final = 1000

Progress = Callable[[int, int], None]


def vector_id(period_key: str, user_id: str) -> str:
    return f"{PROJECTED}:{period_key}:{user_id}"


class PortraitVectors:
    """One vector per quarter snapshot."""

    name = "vectors"

    def __init__(self, relational: Relational, vectors: Vectors) -> None:
        self._relational = relational
        self._vectors = vectors

    async def apply(self, org_id: UUID, events: Sequence[OutboxEvent]) -> None:
        removed: dict[str, set[str]] = {}
        changed: dict[str, set[str] | None] = {}
        for event in events:
            if event.payload["period_type"] == PROJECTED:
                key, told = event.payload["period_key"], event.payload.get("changed")
                removed.setdefault(key, set()).update(event.payload.get("removed", ()))
                users = changed.setdefault(key, set())
                changed[key] = None if users is None or told is None else users.union(told)
        for period_key, users in changed.items():
            await self._forget(org_id, period_key, sorted(removed[period_key]))
            if users is None:
                async for _ in self._write(org_id, period_key):
                    pass
            else:
                await self._write_some(org_id, period_key, sorted(users))

    async def rebuild(self, org_id: UUID, progress: Progress) -> int:
        await self._vectors.clear(org_id, COLLECTION)
        async with self._relational.tenant(org_id, readonly=True) as tx:
            keys = await store.summarised_keys(tx, org_id, PROJECTED)
        done, total = 0, sum(users for _, users in keys)
        for period_key, _ in keys:
            async for written in self._write(org_id, period_key):
                done += written
                progress(done, max(done, total))
        return done

    async def _forget(self, org_id: UUID, period_key: str, users: Sequence[str]) -> None:
        """Delete the vectors of users whose snapshots went away, unless they came back since."""
        for start in range(0, len(users), _PAGE):
            page = users[start : start + _PAGE]
            async with self._relational.tenant(org_id, readonly=True) as tx:
                back = await store.users_of(tx, org_id, PROJECTED, period_key, page)
            gone = [vector_id(period_key, user_id) for user_id in page if user_id not in back]
            if gone:
                await self._vectors.delete(org_id, COLLECTION, gone)

    async def _write_some(self, org_id: UUID, period_key: str, users: Sequence[str]) -> None:
        """Upsert the vectors of those of `users` who have a snapshot."""
        for start in range(0, len(users), _PAGE):
            async with self._relational.tenant(org_id, readonly=True) as tx:
                page = await store.snapshots_of_users(
                    tx, org_id, PROJECTED, period_key, users[start : start + _PAGE]
                )
            items = [_item(period_key, user_id, figures) for user_id, figures in page]
            if items:
                await self._vectors.upsert(org_id, COLLECTION, MODEL_VERSION, items)

    async def _write(self, org_id: UUID, period_key: str) -> AsyncIterator[int]:
        """Upsert the vectors of a period, page by page; yields how many a page had."""
        after = ""
        while True:
            async with self._relational.tenant(org_id, readonly=True) as tx:
                page = await store.snapshots_of(
                    tx, org_id, PROJECTED, period_key, after=after, limit=_PAGE
                )
            if not page:
                return
            items = [_item(period_key, user_id, figures) for user_id, figures in page]
            await self._vectors.upsert(org_id, COLLECTION, MODEL_VERSION, items)
            yield len(page)
            after = page[-1][0]


def _item(period_key: str, user_id: str, figures: Figures) -> VectorItem:
    return VectorItem(
        vector_id(period_key, user_id),
        vector(figures),
        {"user_id": user_id, "period_type": PROJECTED, "period_key": period_key},
    )


PROJECTIONS: Final[Mapping[str, Callable[[UnifiedDataAccess], Projection]]] = {
    PortraitVectors.name: lambda data: PortraitVectors(data.relational, data.vectors)
}
