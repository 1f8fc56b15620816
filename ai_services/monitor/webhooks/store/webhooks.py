"""Webhooks as their organisation keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from shared.data_access.ports import Transaction

DisabledAs = Literal["gone", "failing"]

_COLUMNS: Final = """
    webhook_id, url, event_types, description, active, disabled_as, failing_since,
    CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_until END AS old_secret_until,
    created_at, updated_at
"""
_LIST: Final = f"""
SELECT {_COLUMNS} FROM webhook WHERE org_id = $1 ORDER BY created_at, webhook_id
"""  # noqa: S608 - constants only
_GET: Final = f"""
SELECT {_COLUMNS} FROM webhook WHERE org_id = $1 AND webhook_id = $2
"""  # noqa: S608 - constants only
_INSERT: Final = f"""
INSERT INTO webhook
    (org_id, webhook_id, url, event_types, description, active, secret, idempotency_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (org_id, idempotency_key) DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
# Where it is made active, or gets another address, it begins anew.
_UPDATE: Final = f"""
UPDATE webhook SET url = coalesce($3, url), event_types = coalesce($4, event_types),
    description = coalesce($5, description), active = coalesce($6, active),
    disabled_as = CASE WHEN coalesce($6, active) THEN NULL ELSE disabled_as END,
    failing_since = CASE WHEN url = coalesce($3, url) AND active = coalesce($6, active)
                         THEN failing_since END,
    updated_at = clock_timestamp()
WHERE org_id = $1 AND webhook_id = $2 RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_ROTATE: Final = f"""
UPDATE webhook SET old_secret = secret, secret = $3, updated_at = clock_timestamp(),
    old_secret_until = clock_timestamp() + make_interval(secs => $4)
WHERE org_id = $1 AND webhook_id = $2 RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_MADE_BY: Final = """
SELECT EXISTS (SELECT FROM webhook WHERE org_id = $1 AND idempotency_key = $2)
"""
_HEARS: Final = """
SELECT EXISTS (SELECT FROM webhook WHERE org_id = $1 AND active AND $2 = ANY(event_types))
"""
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks/' || $1::uuid::text, 0))"


@dataclass(frozen=True, slots=True)
class Webhook:
    """`disabled_as`: why the platform sends it nothing. `old_secret_until`: the secret before the
    last signs as well until then; None: it doesn't any more.
    """

    webhook_id: UUID
    url: str
    event_types: Sequence[str]
    description: str
    active: bool
    disabled_as: DisabledAs | None
    failing_since: datetime | None
    old_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime


async def list_webhooks(tx: Transaction, org_id: UUID) -> list[Webhook]:
    """Oldest first."""
    return [Webhook(**row) for row in await tx.fetch(_LIST, org_id)]


async def get_webhook(tx: Transaction, org_id: UUID, webhook_id: UUID) -> Webhook | None:
    row = await tx.fetchrow(_GET, org_id, webhook_id)
    return None if row is None else Webhook(**row)


async def exclude_others(tx: Transaction, org_id: UUID) -> None:
    """Let nobody else of this organisation add any until `tx` ends: how many there are is bounded."""
    await tx.execute(_LOCK, org_id)


async def made_by(tx: Transaction, org_id: UUID, idempotency_key: str | None) -> bool:
    """Whether this key made one that is there."""
    return bool(await tx.fetchval(_MADE_BY, org_id, idempotency_key))


async def hears(tx: Transaction, org_id: UUID, event_type: str) -> bool:
    """Whether any active webhook does."""
    return bool(await tx.fetchval(_HEARS, org_id, event_type))


async def insert(
    tx: Transaction,
    org_id: UUID,
    webhook_id: UUID,
    *,
    url: str,
    event_types: Sequence[str],
    description: str,
    active: bool,
    secret: bytes,
    idempotency_key: str | None,
) -> Webhook | None:
    """None if `idempotency_key` made one before."""
    row = await tx.fetchrow(
        _INSERT, org_id, webhook_id, url, list(event_types), description, active, secret,
        idempotency_key,
    )  # fmt: skip
    return None if row is None else Webhook(**row)


async def update(
    tx: Transaction,
    org_id: UUID,
    webhook_id: UUID,
    *,
    url: str | None,
    event_types: Sequence[str] | None,
    description: str | None,
    active: bool | None,
) -> Webhook | None:
    """None is what stays as it is."""
    row = await tx.fetchrow(_UPDATE, org_id, webhook_id, url, event_types, description, active)
    return None if row is None else Webhook(**row)


async def rotate(
    tx: Transaction, org_id: UUID, webhook_id: UUID, secret: bytes, overlap_s: float
) -> Webhook | None:
    """Sign with `secret`, and with the one before as well for `overlap_s` seconds."""
    row = await tx.fetchrow(_ROTATE, org_id, webhook_id, secret, overlap_s)
    return None if row is None else Webhook(**row)


async def delete(tx: Transaction, org_id: UUID, webhook_id: UUID) -> bool:
    """Whether it was there. Its deliveries go with it."""
    found = await tx.execute(
        "DELETE FROM webhook WHERE org_id = $1 AND webhook_id = $2", org_id, webhook_id
    )
    return found == 1
