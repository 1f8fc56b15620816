"""Every query about imports: what each brought in, and the rows that it refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from shared.data_access.ports import Row, Transaction


async def start_import(tx: Transaction, org_id: UUID, source: str, preset: str) -> UUID:
    import_id: UUID = await tx.fetchval(
        "INSERT INTO import_run (org_id, source, preset) VALUES ($1, $2, $3) RETURNING import_id",
        org_id, source, preset,
    )  # fmt: skip
    return import_id


async def count_import(
    tx: Transaction,
    org_id: UUID,
    import_id: UUID,
    *,
    inserted: int = 0,
    updated: int = 0,
    unchanged: int = 0,
    duplicates: int = 0,
    rejected: int = 0,
) -> None:
    """Add a batch's counts, in the transaction that brings the batch in."""
    await tx.execute(
        """UPDATE import_run SET inserted = inserted + $3, updated = updated + $4,
               unchanged = unchanged + $5, duplicates = duplicates + $6, rejected = rejected + $7
           WHERE org_id = $1 AND import_id = $2""",
        org_id, import_id, inserted, updated, unchanged, duplicates, rejected,
    )  # fmt: skip


async def finish_import(tx: Transaction, org_id: UUID, import_id: UUID) -> None:
    await tx.execute(
        "UPDATE import_run SET finished_at = now() WHERE org_id = $1 AND import_id = $2",
        org_id, import_id,
    )  # fmt: skip


async def import_finished(tx: Transaction, org_id: UUID, source: str) -> bool:
    """Whether an import of this source ever came to its end."""
    found: bool = await tx.fetchval(
        """SELECT EXISTS (SELECT FROM import_run
           WHERE org_id = $1 AND source = $2 AND finished_at IS NOT NULL)""",
        org_id, source,
    )  # fmt: skip
    return found


async def keep_rejects(
    tx: Transaction,
    org_id: UUID,
    import_id: UUID,
    rows: Sequence[tuple[int, str, str, str, str, str]],
) -> None:
    """Rows of (line, field, value, problem, fix, raw), in one statement."""
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    await tx.execute(
        """INSERT INTO import_reject (org_id, import_id, line, field, value, problem, fix, raw)
           SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[],
                                        $7::text[], $8::text[])""",
        org_id, import_id, *(list(column) for column in columns),
    )  # fmt: skip


async def imports(
    tx: Transaction, org_id: UUID, limit: int, before: tuple[dt.datetime, UUID] | None
) -> list[Row]:
    """Newest first, those before the cursor (started_at, import_id)."""
    return await tx.fetch(
        """SELECT import_id, source, preset, started_at, finished_at, inserted, updated, unchanged,
                  duplicates, rejected
           FROM import_run
           WHERE org_id = $1
             AND ($3::timestamptz IS NULL OR (started_at, import_id) < ($3, $4::uuid))
           ORDER BY started_at DESC, import_id DESC LIMIT $2""",
        org_id, limit, *(before or (None, None)),
    )  # fmt: skip


async def rejects(
    tx: Transaction, org_id: UUID, import_id: UUID, after_line: int, limit: int
) -> list[Row]:
    return await tx.fetch(
        """SELECT line, field, value, problem, fix, raw FROM import_reject
           WHERE org_id = $1 AND import_id = $2 AND line > $3 ORDER BY line LIMIT $4""",
        org_id, import_id, after_line, limit,
    )  # fmt: skip


async def has_import(tx: Transaction, org_id: UUID, import_id: UUID) -> bool:
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM import_run WHERE org_id = $1 AND import_id = $2)",
        org_id, import_id,
    )  # fmt: skip
    return found
