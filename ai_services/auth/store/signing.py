"""Queries of the keys that sign access tokens. Only the system role sees this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key pair at rest: the private part encrypted, the public one as a JWK (RFC 8037)."""

    kid: str
    sealed: bytes = field(repr=False)
    jwk: Mapping[str, Any]


async def lock(tx: Transaction) -> None:
    """Let only one transaction at a time make or retire keys."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('looma-signing-key', 0))")


async def current(tx: Transaction) -> SealedKey | None:
    row = await tx.fetchrow(
        """SELECT kid, private_pem, public_jwk FROM signing_key
           WHERE retired_at IS NULL"""
    )
    if row is None:
        return None
    return SealedKey(row["kid"], row["private_pem"], row["public_jwk"])


async def signs_since(tx: Transaction) -> datetime | None:
    """When the current key was made; None while there is none."""
    at: datetime | None = await tx.fetchval(
        "SELECT created_at FROM signing_key WHERE retired_at IS NULL"
    )
    return at


async def insert(tx: Transaction, key: SealedKey, at: datetime) -> None:
    await tx.execute(
        """INSERT INTO signing_key (kid, private_pem, public_jwk, created_at)
           VALUES ($1, $2, $3, $4)""",
        key.kid,
        key.sealed,
        key.jwk,
        at,
    )


async def retire_current(tx: Transaction, at: datetime) -> None:
    """End the signing of the current key; its private part is gone for good."""
    await tx.execute(
        "UPDATE signing_key SET retired_at = $1, private_pem = '' WHERE retired_at IS NULL", at
    )


async def public_keys(tx: Transaction, retired_after: datetime) -> list[Mapping[str, Any]]:
    """JWKs of the current key and of those retired later than `retired_after`, newest first."""
    rows = await tx.fetch(
        """SELECT public_jwk FROM signing_key
           WHERE retired_at IS NULL OR retired_at > $1 ORDER BY created_at DESC, kid""",
        retired_after,
    )
    return [row["public_jwk"] for row in rows]
