"""From the events of services to the messages of webhooks: what the outbox tells is queued here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import structlog

from ai_services.monitor.webhooks import thresholds
from ai_services.monitor.webhooks.events import EventType, Message, message
from ai_services.monitor.webhooks.store import deliveries
from shared.data_access.outbox.relay import OutboxEvent
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict

# Topics whose events are messages as they are.
_TOLD: Final[dict[str, EventType]] = {"jobs": "job.failed", "budgets": "budget.reached"}
_SEGMENTS: Final[dict[str, EventType]] = {"entered": "segment.entered", "left": "segment.left"}
_log = structlog.get_logger("looma.webhooks")


class WebhookMessages:
    """Queues what webhooks hear of, each event in one transaction; an event heard twice is one message.

    `queued` is told when something is due, `dropped` how many messages found no room.
    """

    name = "webhooks"

    def __init__(
        self,
        relational: Relational,
        *,
        queued: Callable[[], None] = lambda: None,
        dropped: Callable[[int], None] = lambda _: None,
        most_open: int = deliveries.MOST_OPEN,
    ) -> None:
        self._relational = relational
        self._queued = queued
        self._dropped = dropped
        self._most_open = most_open

    async def apply(self, org_id: UUID, events: Sequence[OutboxEvent]) -> None:
        async with self._relational.tenant(org_id) as tx:
            messages = [one for event in events for one in await _messages(tx, org_id, event)]
            found = await deliveries.queue(tx, org_id, messages, most_open=self._most_open)
        if found.ids:
            self._queued()
        if found.dropped:
            self._dropped(found.dropped)
            _log.warning("webhook_queue_full", org_id=str(org_id), dropped=found.dropped)

    async def rebuild(self, org_id: UUID, progress: Callable[[int, int], None]) -> int:  # noqa: ARG002 - of every projection
        """Conflict: messages tell of what happened, which nothing can be computed from again."""
        raise Conflict(
            "Webhooks are not rebuilt: nothing is told twice. To send one message again: "
            "POST /api/v1/webhooks/deliveries/ID/replay."
        )


async def _messages(tx: Transaction, org_id: UUID, event: OutboxEvent) -> list[Message]:
    source = f"{org_id}/{event.topic}/{event.id}/{event.created_at.isoformat()}"
    change = event.payload.get("change") if event.topic == "segments" else None
    if change in _SEGMENTS:
        told = {name: value for name, value in event.payload.items() if name != "change"}
        return [message(_SEGMENTS[change], source, event.created_at, told)]
    if event.topic in ("portraits", "segments"):
        return await thresholds.reached(tx, org_id, event.payload, source, event.created_at)
    return [message(_TOLD[event.topic], source, event.created_at, event.payload)]
