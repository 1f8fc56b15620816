"""Queries of organisations' settings."""

from __future__ import annotations

from uuid import UUID

from shared.data_access.ports import Row, Transaction


async def read(tx: Transaction, org_id: UUID) -> Row | None:
    return await tx.fetchrow(
        "SELECT mask_personal_data, encrypt_answers FROM llm_setting WHERE org_id = $1", org_id
    )


async def write(tx: Transaction, org_id: UUID, mask: bool, encrypt: bool) -> None:
    await tx.execute(
        """INSERT INTO llm_setting (org_id, mask_personal_data, encrypt_answers)
           VALUES ($1, $2, $3)
           ON CONFLICT (org_id) DO UPDATE SET mask_personal_data = excluded.mask_personal_data,
               encrypt_answers = excluded.encrypt_answers, updated_at = now()""",
        org_id,
        mask,
        encrypt,
    )
