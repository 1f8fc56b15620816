"""Deliveries: queued with the event that they tell of, listed, sent once more, cleaned away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from ai_services.monitor.webhooks.events import TEST, Message
from shared.data_access.ports import Row, Transaction

DeliveryState = Literal["waiting", "sending", "delivered", "dead"]
DISABLED: Final = "Its webhook was disabled."  # the error of what was given up
MOST_OPEN: Final = 500  # deliveries of a webhook that aren't over

_COLUMNS: Final = """
    delivery_id, webhook_id, message_id, event_type, state, due_at, attempts, last_status, last_error,
    created_at, finished_at
"""
# `open` is read with the statement's start: those who queue at the same time may exceed the bound a little.
_QUEUE: Final = """
WITH wanted AS (
    SELECT w.webhook_id, m.*, row_number() OVER (PARTITION BY w.webhook_id ORDER BY m.position) AS place
    FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY
        AS m (message_id, event_type, body, position)
    JOIN webhook w ON w.org_id = $1 AND w.active
        AND (m.event_type = ANY(w.event_types) OR w.webhook_id = $5)
    WHERE ($5::uuid IS NULL OR w.webhook_id = $5) AND NOT EXISTS (
        SELECT FROM webhook_delivery d
        WHERE d.org_id = $1 AND d.webhook_id = w.webhook_id AND d.message_id = m.message_id)
), open AS (
    SELECT w.webhook_id, (
        SELECT count(*) FROM (
            SELECT FROM webhook_delivery d
            WHERE d.org_id = $1 AND d.webhook_id = w.webhook_id AND d.state IN ('waiting', 'sending')
            LIMIT $6) AS counted) AS deliveries
    FROM (SELECT DISTINCT webhook_id FROM wanted) w
), kept AS (
    INSERT INTO webhook_delivery (org_id, webhook_id, message_id, event_type, body)
    SELECT $1, webhook_id, message_id, event_type, body FROM wanted JOIN open USING (webhook_id)
    WHERE place <= $6 - deliveries ORDER BY position
    ON CONFLICT (org_id, webhook_id, message_id) DO NOTHING RETURNING delivery_id
)
SELECT (SELECT count(*) FROM wanted) AS wanted, (SELECT array_agg(delivery_id) FROM kept) AS kept
"""
_LIST: Final = f"""
SELECT {_COLUMNS} FROM webhook_delivery
WHERE org_id = $1 AND webhook_id = $2 AND ($3::text IS NULL OR state = $3)
  AND ($4::timestamptz IS NULL OR (created_at, delivery_id) < ($4, $5))
ORDER BY created_at DESC, delivery_id DESC LIMIT $6
"""  # noqa: S608 - constants only
_GET: Final = f"""
SELECT {_COLUMNS} FROM webhook_delivery WHERE org_id = $1 AND delivery_id = $2
"""  # noqa: S608 - constants only
_REPLAY: Final = """
UPDATE webhook_delivery d SET state = 'waiting', attempts = 0, due_at = clock_timestamp(),
    finished_at = NULL
FROM webhook w
WHERE d.org_id = $1 AND d.delivery_id = $2 AND d.state IN ('delivered', 'dead')
  AND w.org_id = d.org_id AND w.webhook_id = d.webhook_id AND w.active
"""
# What has waited so long for a webhook that isn't active goes as well.
_CLEAN: Final = """
DELETE FROM webhook_delivery d USING (
    SELECT org_id, delivery_id FROM webhook_delivery
    WHERE finished_at < clock_timestamp() - make_interval(secs => $1)
       OR (state IN ('waiting', 'sending') AND due_at < clock_timestamp() - make_interval(secs => $1)
           AND NOT EXISTS (SELECT FROM webhook w WHERE w.org_id = webhook_delivery.org_id
                           AND w.webhook_id = webhook_delivery.webhook_id AND w.active))
    LIMIT $2 FOR UPDATE SKIP LOCKED) old
WHERE d.org_id = old.org_id AND d.delivery_id = old.delivery_id
"""
# Of a webhook that isn't active nobody claims anything: what a lost process was sending would stay so.
_LET_GO: Final = """
UPDATE webhook_delivery d SET
    state = CASE WHEN w.disabled_as IS NULL THEN 'waiting' ELSE 'dead' END,
    finished_at = CASE WHEN w.disabled_as IS NULL THEN NULL ELSE clock_timestamp() END,
    last_error = CASE WHEN w.disabled_as IS NULL THEN d.last_error ELSE $1 END
FROM webhook w
WHERE d.state = 'sending' AND d.due_at < clock_timestamp()
  AND w.org_id = d.org_id AND w.webhook_id = d.webhook_id AND NOT w.active
"""
_MEASURE: Final = """
SELECT count(*) FILTER (WHERE d.state IN ('waiting', 'sending')) AS open,
       coalesce(max(extract(epoch FROM clock_timestamp() - d.due_at))
                FILTER (WHERE d.state IN ('waiting', 'sending') AND w.active), 0)::float8 AS late_s,
       count(*) FILTER (WHERE d.state = 'dead' AND d.event_type <> $1) AS dead
FROM webhook_delivery d JOIN webhook w USING (org_id, webhook_id)
WHERE d.state IN ('waiting', 'sending')
   OR (d.state = 'dead' AND d.finished_at > clock_timestamp() - interval '24 hours')
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """`due_at` is when it is sent next; of one that is sent, when its sender counts as lost."""

    delivery_id: UUID
    webhook_id: UUID
    message_id: str
    event_type: str
    state: DeliveryState
    due_at: datetime
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Queued:
    """The deliveries that were queued, and how many found no room."""

    ids: Sequence[UUID]
    dropped: int


@dataclass(frozen=True, slots=True)
class Depth:
    """Of all organisations: deliveries that aren't over, seconds that the latest is late, and those
    that died within 24 hours and weren't sent again since.
    """

    open: int
    late_s: float
    dead: int


async def queue(
    tx: Transaction,
    org_id: UUID,
    messages: Sequence[Message],
    *,
    only: UUID | None = None,
    most_open: int = MOST_OPEN,
) -> Queued:
    """Send messages to the active webhooks that hear of them, or to `only`, whatever it hears.

    A message that a webhook has been sent already is left out. Of each webhook at most `most_open`
    are open.
    """
    row = await tx.fetchrow(
        _QUEUE,
        org_id,
        [one.message_id for one in messages],
        [one.event_type for one in messages],
        [one.body for one in messages],
        only,
        most_open,
    )
    assert row is not None  # it has two counts whatever there is
    kept = row["kept"] or []
    return Queued(kept, row["wanted"] - len(kept))


async def list_deliveries(
    tx: Transaction,
    org_id: UUID,
    webhook_id: UUID,
    *,
    state: DeliveryState | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Delivery]:
    """Newest first."""
    at, row_id = before or (None, None)
    rows = await tx.fetch(_LIST, org_id, webhook_id, state, at, row_id, limit)
    return [_delivery(row) for row in rows]


async def get_delivery(tx: Transaction, org_id: UUID, delivery_id: UUID) -> Delivery | None:
    row = await tx.fetchrow(_GET, org_id, delivery_id)
    return None if row is None else _delivery(row)


async def replay(tx: Transaction, org_id: UUID, delivery_id: UUID) -> bool:
    """Send once more what is over, with all its attempts; whether it could be."""
    return await tx.execute(_REPLAY, org_id, delivery_id) == 1


async def clean(tx: Transaction, older_than_s: float, limit: int = 1_000) -> int:
    """Delete what is over, or waits for nobody, since that long; how many that were. System only."""
    return await tx.execute(_CLEAN, older_than_s, limit)


async def let_go(tx: Transaction) -> int:
    """Of webhooks that aren't active: what nobody sends any more waits again, or is over where the
    platform disabled it; how many that were. System only.
    """
    return await tx.execute(_LET_GO, DISABLED)


async def measure(tx: Transaction) -> Depth:
    """System only. Tests that failed are no matter of the platform's."""
    row: Any = await tx.fetchrow(_MEASURE, TEST)
    return Depth(row["open"], max(0.0, row["late_s"]), row["dead"])


def _delivery(row: Row) -> Delivery:
    return Delivery(**row)
