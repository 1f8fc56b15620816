"""The queries about imports: what each brought in, the rows that it refused, its being taken back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final
from uuid import UUID

from ai_services.enrichment.imports.notes_of_calls import notes_of_calls
from shared.data_access.ports import Row, Transaction
from shared.errors import InvalidInput

_REJECTS: Final = 100_000  # are kept of an import, and its batch that goes beyond: disks end
_WARNINGS: Final = 20  # are kept of an import
_LONGEST_NOTE: Final = 500  # characters
_COLUMNS: Final = """import_id, source, preset, started_at, finished_at, inserted, updated, unchanged,
    duplicates, rejected, noted, job_id, error, notes, taken_back, taken_back_at, stayed_out, spread,
    not_kept"""
_ONE: Final = f"""
    SELECT {_COLUMNS} FROM import_run
    WHERE org_id = $1 AND import_id = $2"""  # noqa: S608 - a constant
# Whoever merges a batch of it holds its row, and is waited for.
_CLOSE: Final = f"""
    UPDATE import_run SET take_back_at = coalesce(take_back_at, now()),
        finished_at = coalesce(finished_at, now()),
        error = CASE WHEN finished_at IS NULL THEN 'It was taken back.' ELSE error END
    WHERE org_id = $1 AND import_id = $2 RETURNING {_COLUMNS}"""  # noqa: S608 - a constant
_END_TAKE_BACK: Final = f"""
    UPDATE import_run SET taken_back_at = coalesce(taken_back_at, now())
    WHERE org_id = $1 AND import_id = $2 RETURNING {_COLUMNS}"""  # noqa: S608 - a constant
_NEWEST_FIRST: Final = f"""
    SELECT {_COLUMNS} FROM import_run
    WHERE org_id = $1
      AND ($3::timestamptz IS NULL OR (started_at, import_id) < ($3, $4::uuid))
    ORDER BY started_at DESC, import_id DESC LIMIT $2"""  # noqa: S608 - a constant


async def start_import(
    tx: Transaction,
    org_id: UUID,
    source: str,
    preset: str,
    import_id: UUID | None = None,
    job_id: int | None = None,
) -> UUID:
    started: UUID = await tx.fetchval(
        """INSERT INTO import_run (org_id, source, preset, import_id, job_id)
           VALUES ($1, $2, $3, coalesce($4, gen_random_uuid()), $5) RETURNING import_id""",
        org_id, source, preset, import_id, job_id,
    )  # fmt: skip
    return started


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
    noted: Mapping[str, int] = MappingProxyType({}),
    notes: Sequence[str] = (),
    stayed_out: int = 0,
    spread: int = 0,
    not_kept: int = 0,
    error: str | None = None,
) -> None:
    """Add a batch's counts and notes, in the transaction that brings the batch in.

    `noted` is how many rows have a note, by its field; `notes` are about the file as a whole;
    `stayed_out`, `spread` and `not_kept` are what `notes_of_calls` tells of.
    `error` says why what follows it in the file can't be read. InvalidInput for an import that has
    ended or is taken back: nothing comes in with it any more.
    """
    counted = await tx.execute(
        """UPDATE import_run SET inserted = inserted + $3, updated = updated + $4,
               unchanged = unchanged + $5, duplicates = duplicates + $6, rejected = rejected + $7,
               notes = (notes || $8::text[])[:$9], error = coalesce($10, error),
               noted = noted || coalesce((
                   SELECT jsonb_object_agg(field, coalesce((noted ->> field)::bigint, 0) + count)
                   FROM unnest($11::text[], $12::bigint[]) AS more (field, count)), '{}'),
               stayed_out = stayed_out + $13, spread = spread + $14, not_kept = not_kept + $15
           WHERE org_id = $1 AND import_id = $2 AND finished_at IS NULL""",
        org_id, import_id, inserted, updated, unchanged, duplicates, rejected,
        [_shortened(note) for note in notes], _WARNINGS, error, list(noted), list(noted.values()),
        stayed_out, spread, not_kept,
    )  # fmt: skip
    if not counted:
        raise InvalidInput.of("import", "was ended or taken back meanwhile", "import it anew")


def _with_notes(row: Row) -> Row:
    """An import whose notes are those of its calls, then those of its file."""
    notes = [*notes_of_calls(row["stayed_out"], row["spread"], row["not_kept"]), *row["notes"]]
    return {**row, "notes": notes[:_WARNINGS]}


def _shortened(note: str) -> str:
    return note if len(note) <= _LONGEST_NOTE else f"{note[: _LONGEST_NOTE - 1]}…"


async def finish_import(
    tx: Transaction, org_id: UUID, import_id: UUID, error: str | None = None
) -> None:
    """`error` says why the file, or the rest of it, wasn't taken. What is finished stays so."""
    await tx.execute(
        """UPDATE import_run SET finished_at = now(), error = coalesce($3, error)
           WHERE org_id = $1 AND import_id = $2 AND finished_at IS NULL""",
        org_id, import_id, error,
    )  # fmt: skip


async def left_open(tx: Transaction, dead_s: float, limit: int) -> list[Row]:
    """Imports without a kept file whose job ended before they did, as (org_id, import_id, state of the
    job); in a system transaction. One that died may be tried again for `dead_s` seconds.
    """
    return await tx.fetch(
        """SELECT r.org_id, r.import_id, j.state
           FROM import_run r LEFT JOIN job j USING (job_id)
           WHERE r.finished_at IS NULL AND r.job_id IS NOT NULL
             AND NOT EXISTS (SELECT FROM import_file f
                             WHERE f.org_id = r.org_id AND f.import_id = r.import_id)
             AND CASE WHEN j.state = 'dead'
                      THEN j.finished_at < clock_timestamp() - make_interval(secs => $1)
                      ELSE j.job_id IS NULL OR j.finished_at IS NOT NULL END
           ORDER BY r.org_id, r.import_id LIMIT $2 FOR UPDATE OF r SKIP LOCKED""",
        dead_s, limit,
    )  # fmt: skip


async def hold_import(tx: Transaction, org_id: UUID, import_id: UUID) -> Row | None:
    """(started_at, finished_at, take_back_at): nobody ends it before `tx` does."""
    return await tx.fetchrow(
        """SELECT started_at, finished_at, take_back_at FROM import_run
           WHERE org_id = $1 AND import_id = $2 FOR UPDATE""",
        org_id, import_id,
    )  # fmt: skip


async def get_import(tx: Transaction, org_id: UUID, import_id: UUID) -> Row | None:
    row = await tx.fetchrow(_ONE, org_id, import_id)
    return None if row is None else _with_notes(row)


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
    most: int = _REJECTS,
) -> None:
    """Rows of (line, field, value, problem, fix, raw), in one statement.

    Once an import has `most` rejected rows, what comes after is counted alone.
    """
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    await tx.execute(
        """INSERT INTO import_reject (org_id, import_id, line, field, value, problem, fix, raw)
           SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[],
                                        $7::text[], $8::text[])
           WHERE (SELECT rejected FROM import_run WHERE org_id = $1 AND import_id = $2) < $9""",
        org_id, import_id, *(list(column) for column in columns), most,
    )  # fmt: skip


async def keep_notes(
    tx: Transaction,
    org_id: UUID,
    import_id: UUID,
    rows: Sequence[tuple[int, str, str, str, str]],
    most: int = _REJECTS,
) -> None:
    """Notes of (line, field, value, problem, fix); bounded as rejected rows are."""
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    await tx.execute(
        """INSERT INTO import_note (org_id, import_id, line, field, value, problem, fix)
           SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
           WHERE (SELECT coalesce(sum(value::bigint), 0)
                  FROM import_run, jsonb_each_text(noted)
                  WHERE org_id = $1 AND import_id = $2) < $8""",
        org_id, import_id, *(list(column) for column in columns), most,
    )  # fmt: skip


async def notes(
    tx: Transaction, org_id: UUID, import_id: UUID, after: tuple[int, int], limit: int
) -> list[Row]:
    """By line, those after the cursor (line, number)."""
    return await tx.fetch(
        """SELECT line, number, field, value, problem, fix FROM import_note
           WHERE org_id = $1 AND import_id = $2 AND (line, number) > ($3, $4)
           ORDER BY line, number LIMIT $5""",
        org_id, import_id, *after, limit,
    )  # fmt: skip


async def imports(
    tx: Transaction, org_id: UUID, limit: int, before: tuple[dt.datetime, UUID] | None
) -> list[Row]:
    """Newest first, those before the cursor (started_at, import_id)."""
    rows = await tx.fetch(_NEWEST_FIRST, org_id, limit, *(before or (None, None)))
    return list(map(_with_notes, rows))


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


# Taking back.


async def close_import(tx: Transaction, org_id: UUID, import_id: UUID) -> Row:
    """Let no more of it in; the import as it is then."""
    row = await tx.fetchrow(_CLOSE, org_id, import_id)
    assert row is not None, "imports are never deleted"
    return row


async def calls_of_import(tx: Transaction, org_id: UUID, import_id: UUID, limit: int) -> list[str]:
    """The first calls, by their ids, that it brought in and nothing else has changed. Locked: nothing
    changes them before `tx` ends.
    """
    rows = await tx.fetch(
        """SELECT callid FROM call_record_enriched
           WHERE org_id = (SELECT $1::uuid) AND import_id = $2
           ORDER BY callid LIMIT $3 FOR UPDATE""",
        org_id, import_id, limit,
    )  # fmt: skip
    return [row["callid"] for row in rows]


async def set_sources_back(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> int:
    """These calls are going to be deleted: the marks of the tables that they came from go back to before
    them, so that they are read again. How many marks that are.
    """
    return await tx.execute(
        """UPDATE source_shard s SET through = lost.first
           FROM (SELECT o.source, o.shard, min(c.started_at) AS first
                 FROM source_call o
                 JOIN call_record_enriched c ON c.org_id = o.org_id AND c.callid = o.callid
                 WHERE o.org_id = (SELECT $1::uuid) AND o.callid = ANY($2::text[])
                 GROUP BY o.source, o.shard) AS lost
           WHERE s.org_id = $1 AND s.source = lost.source AND s.shard = lost.shard
             AND s.through > lost.first""",
        org_id, list(callids),
    )  # fmt: skip


async def count_taken_back(tx: Transaction, org_id: UUID, import_id: UUID, calls: int) -> None:
    await tx.execute(
        """UPDATE import_run SET taken_back = taken_back + $3
           WHERE org_id = $1 AND import_id = $2""",
        org_id, import_id, calls,
    )  # fmt: skip


async def end_take_back(tx: Transaction, org_id: UUID, import_id: UUID) -> Row:
    row = await tx.fetchrow(_END_TAKE_BACK, org_id, import_id)
    assert row is not None, "imports are never deleted"
    return row
