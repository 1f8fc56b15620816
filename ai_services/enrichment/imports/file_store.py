"""The queries about files that were sent to be imported, and are kept until they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from shared.data_access.ports import Row, Transaction

# Those of which nothing is to come any more: their job is over, or gone with its history, or whoever
# sent them was cut off. A job that died may be tried again, if it is one of the last.
_LEFT: Final = """
SELECT f.org_id, f.import_id, j.state
FROM import_file f LEFT JOIN job j ON j.job_id = f.job_id
WHERE CASE WHEN f.job_id IS NULL THEN f.touched_at < clock_timestamp() - make_interval(secs => $1)
           WHEN j.state = 'dead'
           THEN j.finished_at < clock_timestamp() - make_interval(secs => $2)
                OR $4 <= (SELECT count(*) FROM import_file other JOIN job died USING (job_id)
                          WHERE other.org_id = f.org_id AND died.state = 'dead'
                            AND died.finished_at > j.finished_at)
           ELSE j.job_id IS NULL OR j.finished_at IS NOT NULL END
ORDER BY f.org_id, f.import_id LIMIT $3 FOR UPDATE OF f SKIP LOCKED
"""


async def await_turn(tx: Transaction, org_id: UUID) -> None:
    """Until `tx` ends nobody else begins a file of the organisation's, or has one imported."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('imports/' || $1::uuid::text, 0))", org_id
    )


async def begin_file(
    tx: Transaction,
    org_id: UUID,
    import_id: UUID,
    digest: bytes,
    upload: Mapping[str, Any] | None,
    *,
    most: int,
) -> bool:
    """False where `most` are on their way or wait for their jobs. Those of jobs that died don't count.

    `upload` is how to read one that comes in several requests.
    """
    return bool(
        await tx.execute(
            """INSERT INTO import_file (org_id, import_id, digest, upload) SELECT $1, $2, $3, $4
               WHERE $5 > (SELECT count(*) FROM import_file f LEFT JOIN job j USING (job_id)
                           WHERE f.org_id = $1 AND (f.job_id IS NULL OR
                                 j.job_id IS NOT NULL AND j.finished_at IS NULL))""",
            org_id, import_id, digest, None if upload is None else dict(upload), most,
        )
    )  # fmt: skip


async def grow(
    tx: Transaction, org_id: UUID, import_id: UUID, before: int, size: int, digest: bytes
) -> bool:
    """From `before` bytes to `size`; False if it has another size, all of it has come, or it is gone."""
    return bool(
        await tx.execute(
            """UPDATE import_file SET bytes = $4, digest = $5, touched_at = clock_timestamp()
               WHERE org_id = $1 AND import_id = $2 AND bytes = $3 AND job_id IS NULL""",
            org_id, import_id, before, size, digest,
        )
    )  # fmt: skip


async def put_part(
    tx: Transaction, org_id: UUID, import_id: UUID, number: int, sealed: bytes
) -> None:
    """In place of an earlier, shorter one."""
    await tx.execute(
        "DELETE FROM import_part WHERE org_id = $1 AND import_id = $2 AND number = $3",
        org_id, import_id, number,
    )  # fmt: skip
    await tx.execute(
        "INSERT INTO import_part (org_id, import_id, number, sealed) VALUES ($1, $2, $3, $4)",
        org_id, import_id, number, sealed,
    )  # fmt: skip


async def open_upload(tx: Transaction, org_id: UUID, import_id: UUID) -> Row | None:
    """What has come of a file that comes in several requests, until all of it has: bytes, digest,
    upload.
    """
    return await tx.fetchrow(
        """SELECT bytes, digest, upload FROM import_file
           WHERE org_id = $1 AND import_id = $2 AND upload IS NOT NULL AND job_id IS NULL""",
        org_id, import_id,
    )  # fmt: skip


async def give_to_job(tx: Transaction, org_id: UUID, import_id: UUID, job_id: int) -> None:
    """All of it has come."""
    await tx.execute(
        "UPDATE import_file SET job_id = $3 WHERE org_id = $1 AND import_id = $2",
        org_id, import_id, job_id,
    )  # fmt: skip


async def file_size(tx: Transaction, org_id: UUID, import_id: UUID) -> int | None:
    """In bytes; None for a file that isn't kept any more."""
    size: int | None = await tx.fetchval(
        "SELECT bytes FROM import_file WHERE org_id = $1 AND import_id = $2", org_id, import_id
    )
    return size


async def part(tx: Transaction, org_id: UUID, import_id: UUID, number: int) -> bytes | None:
    sealed: bytes | None = await tx.fetchval(
        "SELECT sealed FROM import_part WHERE org_id = $1 AND import_id = $2 AND number = $3",
        org_id, import_id, number,
    )  # fmt: skip
    return sealed


async def delete_file(tx: Transaction, org_id: UUID, import_id: UUID) -> None:
    await tx.execute(
        "DELETE FROM import_file WHERE org_id = $1 AND import_id = $2", org_id, import_id
    )


async def left_behind(
    tx: Transaction, cut_off_s: float, dead_s: float, most_dead: int, limit: int
) -> list[Row]:
    """Files to be deleted, as (org_id, import_id, state of the job); in a system transaction.

    Of jobs that died the last `most_dead` of an organisation are kept for `dead_s` seconds.
    """
    return await tx.fetch(_LEFT, cut_off_s, dead_s, limit, most_dead)
