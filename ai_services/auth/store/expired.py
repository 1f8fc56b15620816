"""Deletes of what is past its time, a bounded number of rows each."""

from __future__ import annotations

from datetime import datetime

from shared.data_access.ports import Transaction


async def refresh_tokens(tx: Transaction, now: datetime, limit: int) -> int:
    return await tx.execute(
        """DELETE FROM refresh_token WHERE token_hash IN (
               SELECT token_hash FROM refresh_token WHERE expires_at < $1
               ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)""",
        now,
        limit,
    )


async def revocations(tx: Transaction, now: datetime, limit: int) -> int:
    return await tx.execute(
        """DELETE FROM revocation WHERE (org_id, subject) IN (
               SELECT org_id, subject FROM revocation WHERE expires_at < $1
               ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)""",
        now,
        limit,
    )


async def throttles(tx: Transaction, last_failure_before: datetime, limit: int) -> int:
    return await tx.execute(
        """DELETE FROM login_throttle WHERE subject IN (
               SELECT subject FROM login_throttle WHERE last_failure < $1
               ORDER BY last_failure LIMIT $2 FOR UPDATE SKIP LOCKED)""",
        last_failure_before,
        limit,
    )


async def throttles_beyond(tx: Transaction, kept: int, limit: int) -> int:
    """Drop the oldest entries when there are more than `kept`."""
    return await tx.execute(
        """DELETE FROM login_throttle WHERE subject IN (
               SELECT subject FROM login_throttle
               ORDER BY last_failure DESC, subject OFFSET $1 LIMIT $2
               FOR UPDATE SKIP LOCKED)""",
        kept,
        limit,
    )


async def signing_keys(tx: Transaction, retired_before: datetime, limit: int) -> int:
    return await tx.execute(
        """DELETE FROM signing_key WHERE kid IN (
               SELECT kid FROM signing_key WHERE retired_at < $1 LIMIT $2)""",
        retired_before,
        limit,
    )
