"""The queries of files of batches."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from shared.data_access.ports import Row, Transaction

KEPT_DAYS: Final = 30


async def read(tx: Transaction, org_id: UUID, file_id: UUID) -> Row | None:
    """All but its content."""
    return await tx.fetchrow(
        """SELECT file_id, purpose, filename, bytes, created_at FROM llm_file
           WHERE org_id = $1 AND file_id = $2""",
        org_id, file_id,
    )  # fmt: skip


async def content(tx: Transaction, org_id: UUID, file_id: UUID) -> bytes | None:
    """As it is kept: encrypted."""
    sealed: bytes | None = await tx.fetchval(
        "SELECT sealed FROM llm_file WHERE org_id = $1 AND file_id = $2", org_id, file_id
    )
    return sealed


async def insert(
    tx: Transaction,
    org_id: UUID,
    file_id: UUID,
    purpose: str,
    filename: str,
    size: int,
    sealed: bytes,
) -> None:
    await tx.execute(
        """INSERT INTO llm_file (org_id, file_id, purpose, filename, bytes, sealed)
           VALUES ($1, $2, $3, $4, $5, $6)""",
        org_id, file_id, purpose, filename, size, sealed,
    )  # fmt: skip


async def delete(tx: Transaction, org_id: UUID, file_id: UUID) -> bool:
    """Whether it was there."""
    gone = await tx.execute(
        "DELETE FROM llm_file WHERE org_id = $1 AND file_id = $2", org_id, file_id
    )
    return gone == 1


async def size(tx: Transaction, org_id: UUID) -> int:
    """Bytes of all files of an organisation."""
    return int(
        await tx.fetchval("SELECT coalesce(sum(bytes), 0) FROM llm_file WHERE org_id = $1", org_id)
    )


async def sweep(tx: Transaction) -> int:
    """Delete what is older than a month, and batches that ended before; needs a system transaction."""
    gone = await tx.execute(
        "DELETE FROM llm_file WHERE created_at < now() - make_interval(days => $1)", KEPT_DAYS
    )
    return gone + await tx.execute(
        "DELETE FROM llm_batch WHERE ended_at < now() - make_interval(days => $1)", KEPT_DAYS
    )
