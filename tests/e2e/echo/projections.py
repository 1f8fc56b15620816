from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from ai_services.echo import store

from shared.data_access.access import UnifiedDataAccess
from shared.data_access.outbox.relay import OutboxEvent, Projection
from shared.data_access.ports import Relational


class HeardWords:
    """How often each word came back."""

    name = "heard"

    def __init__(self, relational: Relational) -> None:
        self._relational = relational

    async def apply(self, org_id: UUID, events: Sequence[OutboxEvent]) -> None:
        await store.hear(self._relational, org_id, [event.payload["word"] for event in events])

    async def rebuild(self, org_id: UUID, progress: Callable[[int, int], None]) -> int:
        words = await store.hear_again(self._relational, org_id)
        progress(words, words)
        return words


PROJECTIONS: Mapping[str, Callable[[UnifiedDataAccess], Projection]] = {
    HeardWords.name: lambda data: HeardWords(data.relational)
}
