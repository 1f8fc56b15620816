"""How deliveries come into the hands of a process, and how they leave them.

Due times and leases go by the database's clock. A process that is lost while it sends leaves its
deliveries due again when their lease is over; the number of the claim keeps it from ending what
another one has claimed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from ai_services.monitor.webhooks.events import TEST
from ai_services.monitor.webhooks.store.deliveries import DISABLED
from shared.data_access.ports import Transaction

Ended = Literal["delivered", "waiting", "dead"]

# Also has PostgreSQL end this transaction if its process stands still in it: all others wait for it.
_LOCK: Final = """
SELECT set_config('idle_in_transaction_session_timeout', '5000', true),
    pg_try_advisory_xact_lock(hashtextextended('webhooks/claiming', 0)) AS ours
"""
# Skips from webhook to webhook in the index: the cost is two probes for each that has something open.
_DUE: Final = """
WITH RECURSIVE open AS (
    (SELECT org_id, webhook_id FROM webhook_delivery WHERE state IN ('waiting', 'sending')
     ORDER BY org_id, webhook_id LIMIT 1)
    UNION ALL
    SELECT next.org_id, next.webhook_id FROM open, LATERAL (
        SELECT org_id, webhook_id FROM webhook_delivery d
        WHERE d.state IN ('waiting', 'sending')
          AND (d.org_id, d.webhook_id) > (open.org_id, open.webhook_id)
        ORDER BY d.org_id, d.webhook_id LIMIT 1) next
)
SELECT w.org_id, w.webhook_id, head.due_at AS since
FROM open JOIN webhook w ON w.org_id = open.org_id AND w.webhook_id = open.webhook_id AND w.active,
LATERAL (
    SELECT due_at FROM webhook_delivery d
    WHERE d.org_id = w.org_id AND d.webhook_id = w.webhook_id
      AND d.state IN ('waiting', 'sending') AND d.due_at <= clock_timestamp()
    ORDER BY due_at LIMIT 1) head
"""
_SENDING: Final = """
SELECT org_id, webhook_id, count(*) AS sending FROM webhook_delivery
WHERE state = 'sending' AND due_at > clock_timestamp() GROUP BY org_id, webhook_id
"""
_CLAIM: Final = """
WITH taken AS (
    SELECT head.org_id, head.delivery_id
    FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS share (org_id, webhook_id, most), LATERAL (
        SELECT d.org_id, d.delivery_id FROM webhook_delivery d
        WHERE d.org_id = share.org_id AND d.webhook_id = share.webhook_id
          AND d.state IN ('waiting', 'sending') AND d.due_at <= clock_timestamp()
        ORDER BY d.due_at LIMIT share.most FOR UPDATE SKIP LOCKED) head
)
UPDATE webhook_delivery d SET state = 'sending', claim = d.claim + 1, attempts = d.attempts + 1,
    due_at = clock_timestamp() + make_interval(secs => $4)
FROM taken JOIN webhook w USING (org_id)
WHERE d.org_id = taken.org_id AND d.delivery_id = taken.delivery_id AND w.webhook_id = d.webhook_id
RETURNING d.org_id, d.webhook_id, d.delivery_id, d.claim, d.message_id, d.event_type, d.body,
    d.attempts, w.url, w.secret,
    CASE WHEN w.old_secret_until > clock_timestamp() THEN w.old_secret END AS old_secret
"""
# Before its delivery, as a webhook's own deletion has it: two who wait for each other would deadlock.
_LOCK_WEBHOOK: Final = """
SELECT disabled_as IS NOT NULL AS disabled FROM webhook WHERE org_id = $1 AND webhook_id = $2
FOR NO KEY UPDATE
"""
_END: Final = """
UPDATE webhook_delivery SET state = $4, last_status = $5, last_error = $6,
    due_at = clock_timestamp() + make_interval(secs => $7),
    finished_at = CASE WHEN $4 = 'waiting' THEN NULL ELSE clock_timestamp() END
WHERE org_id = $1 AND delivery_id = $2 AND claim = $3 AND state = 'sending'
"""
_POSTPONE: Final = """
UPDATE webhook_delivery SET state = 'waiting', attempts = attempts - 1,
    due_at = clock_timestamp() + make_interval(secs => $4)
WHERE org_id = $1 AND delivery_id = $2 AND claim = $3 AND state = 'sending'
"""
_SUCCEEDED: Final = """
UPDATE webhook SET failing_since = NULL
WHERE org_id = $1 AND webhook_id = $2 AND failing_since IS NOT NULL
"""
_FAILED: Final = """
UPDATE webhook SET failing_since = clock_timestamp()
WHERE org_id = $1 AND webhook_id = $2 AND failing_since IS NULL
"""
_DISABLE: Final = """
UPDATE webhook SET active = false, disabled_as = $3, updated_at = clock_timestamp()
WHERE org_id = $1 AND webhook_id = $2 AND active
  AND ($3 = 'gone' OR failing_since < clock_timestamp() - make_interval(secs => $4))
"""
_ABANDON: Final = """
UPDATE webhook_delivery SET state = 'dead', finished_at = clock_timestamp(),
    last_error = $3
WHERE org_id = $1 AND webhook_id = $2 AND state = 'waiting'
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook that something is due for, the oldest of it since `since`."""

    org_id: UUID
    webhook_id: UUID
    since: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours until its lease is over; `attempts` counts the one to come."""

    org_id: UUID
    webhook_id: UUID
    delivery_id: UUID
    claim: int
    message_id: str
    event_type: str
    body: str
    attempts: int
    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(repr=False)


async def try_turn(tx: Transaction) -> bool:
    """Whether nobody else claims until `tx` ends: bounds over all processes hold by it."""
    row = await tx.fetchrow(_LOCK)
    return row is not None and bool(row["ours"])


async def due(tx: Transaction) -> list[Due]:
    return [Due(**row) for row in await tx.fetch(_DUE)]


async def sending(tx: Transaction) -> dict[tuple[UUID, UUID], int]:
    """(organisation, webhook) → how much is on its way there, by whichever process."""
    rows = await tx.fetch(_SENDING)
    return {(row["org_id"], row["webhook_id"]): row["sending"] for row in rows}


async def claim(
    tx: Transaction, shares: Mapping[tuple[UUID, UUID], int], lease_s: float
) -> list[Claim]:
    """What has been due longest of each of these webhooks, as many as each one's share."""
    organisations, webhooks = [pair[0] for pair in shares], [pair[1] for pair in shares]
    rows = await tx.fetch(_CLAIM, organisations, webhooks, list(shares.values()), lease_s)
    return [Claim(**row) for row in rows]


async def end(
    tx: Transaction,
    one: Claim,
    state: Ended,
    *,
    after_s: float,
    status: int | None,
    error: str | None,
) -> bool:
    """End a claim, and note how its webhook fares. False: the claim was over already.

    A test that fails says nothing of how long the webhook does. What would wait for a webhook that the
    platform has disabled meanwhile is over.
    """
    webhook = await tx.fetchrow(_LOCK_WEBHOOK, one.org_id, one.webhook_id)
    if webhook is None:  # it was deleted, with all its deliveries
        return False
    if state == "waiting" and webhook["disabled"]:
        state, error = "dead", DISABLED
    ended = await tx.execute(
        _END, one.org_id, one.delivery_id, one.claim, state, status, error, after_s
    )
    if ended and state == "delivered":
        await tx.execute(_SUCCEEDED, one.org_id, one.webhook_id)
    elif ended and one.event_type != TEST:
        await tx.execute(_FAILED, one.org_id, one.webhook_id)
    return ended == 1


async def postpone(tx: Transaction, one: Claim, after_s: float) -> bool:
    """End a claim that no attempt came of, for a reason of ours: it isn't counted. False: as `end`."""
    return await tx.execute(_POSTPONE, one.org_id, one.delivery_id, one.claim, after_s) == 1


async def disable(
    tx: Transaction,
    org_id: UUID,
    webhook_id: UUID,
    why: Literal["gone", "failing"],
    failing_s: float,
) -> bool:
    """Send it nothing more; whether that is new. As `failing` only after `failing_s` of failures."""
    disabled = await tx.execute(_DISABLE, org_id, webhook_id, why, failing_s)
    if disabled:
        await tx.execute(_ABANDON, org_id, webhook_id, DISABLED)
    return disabled == 1
