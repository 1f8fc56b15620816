"""The queries about sources: how far they are in, whose call is whose, which messages came.

Why it is `(SELECT $1::uuid)` where calls are looked for by their keys: analysis/store.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from shared.data_access.ports import Row, Transaction

_LONGEST_ERROR: Final = 2_000


async def organisation_id(tx: Transaction, slug: str) -> UUID | None:
    """By its short name, in a system transaction."""
    org_id: UUID | None = await tx.fetchval("SELECT org_id FROM organisation WHERE slug = $1", slug)
    return org_id


# How far.


async def shards(tx: Transaction, org_id: UUID, source: str) -> dict[str, Row]:
    rows = await tx.fetch(
        "SELECT shard, through, read_at, error FROM source_shard WHERE org_id = $1 AND source = $2",
        org_id, source,
    )  # fmt: skip
    return {row["shard"]: row for row in rows}


async def advance(
    tx: Transaction,
    org_id: UUID,
    source: str,
    shard: str,
    through: dt.datetime | None,
    *,
    after: dt.datetime | None,
    ended: bool,
) -> None:
    """Everything from `after` (None: the beginning) up to `through` (None: as before) is in; `ended`: it
    was read to its end. A mark that was set back to before `after` meanwhile stays there.
    """
    await tx.execute(
        """INSERT INTO source_shard AS s (org_id, source, shard, through, read_at)
           VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN now() END)
           ON CONFLICT (org_id, source, shard) DO UPDATE SET
               through = CASE WHEN $6::timestamptz > s.through THEN s.through
                              ELSE greatest(s.through, EXCLUDED.through) END,
               read_at = coalesce(EXCLUDED.read_at, s.read_at),
               error = CASE WHEN $5 THEN NULL ELSE s.error END""",
        org_id, source, shard, through, ended, after,
    )  # fmt: skip


async def shard_failed(tx: Transaction, org_id: UUID, source: str, shard: str, error: str) -> None:
    await tx.execute(
        """INSERT INTO source_shard (org_id, source, shard, error) VALUES ($1, $2, $3, $4)
           ON CONFLICT (org_id, source, shard) DO UPDATE SET error = EXCLUDED.error""",
        org_id, source, shard, error[:_LONGEST_ERROR],
    )  # fmt: skip


async def begin_sync(tx: Transaction, org_id: UUID, source: str) -> None:
    await tx.execute(
        "INSERT INTO source_sync (org_id, source) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        org_id, source,
    )  # fmt: skip


async def end_sync(tx: Transaction, org_id: UUID, source: str, error: str | None) -> None:
    """`error` says what of it wasn't read: then it doesn't count as synced."""
    await tx.execute(
        """UPDATE source_sync SET error = $3,
               synced_at = CASE WHEN $3::text IS NULL THEN now() ELSE synced_at END
           WHERE org_id = $1 AND source = $2""",
        org_id, source, None if error is None else error[:_LONGEST_ERROR],
    )  # fmt: skip


async def last_syncs(tx: Transaction) -> list[Row]:
    """(slug, source, at): when each was synced last, or first seen; in a system transaction."""
    return await tx.fetch(
        """SELECT o.slug, s.source, coalesce(s.synced_at, s.since) AS at
           FROM source_sync s JOIN organisation o USING (org_id)"""
    )


# Whose call is whose.


async def elsewhere(
    tx: Transaction, org_id: UUID, callids: Sequence[str], source: str, shard: str | None
) -> dict[str, str]:
    """Those of the calls that belong to another table or source → which that is; `shard` None: only
    another source.
    """
    rows = await tx.fetch(
        """SELECT callid, source, shard FROM source_call
           WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
             AND (source <> $3 OR shard <> $4)""",
        org_id, list(callids), source, shard,
    )  # fmt: skip
    return {
        row["callid"]: row["shard"]
        if row["source"] == source
        else f"{row['source']}/{row['shard']}"
        for row in rows
    }


async def own(
    tx: Transaction, org_id: UUID, callids: Sequence[str], source: str, shard: str
) -> None:
    """These calls came from there, unless they belong to somebody already."""
    await tx.execute(
        """INSERT INTO source_call (org_id, callid, source, shard)
           SELECT $1, callid, $3, $4 FROM unnest($2::text[]) AS callid
           ON CONFLICT (org_id, callid) DO NOTHING""",
        org_id, list(callids), source, shard,
    )  # fmt: skip


async def owned(
    tx: Transaction, org_id: UUID, callids: Sequence[str], source: str, shard: str | None
) -> list[str]:
    """Those of the calls that belong to this table, or to any of the source."""
    rows = await tx.fetch(
        """SELECT callid FROM source_call
           WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
             AND source = $3 AND ($4::text IS NULL OR shard = $4) ORDER BY callid""",
        org_id, list(callids), source, shard,
    )  # fmt: skip
    return [row["callid"] for row in rows]


# Comparing.


async def kept(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> Mapping[str, Row]:
    """What is kept of these calls, with their transcripts and whose they are. `customer_id` is who
    it is by the source, whoever that customer was merged into.
    """
    rows = await tx.fetch(
        """SELECT c.callid, c.task_id, c.agent_id, c.user_id,
                  coalesce(c.given_customer_id, c.customer_id) AS customer_id,
                  c.started_at, c.duration_ms, c.bill_ms, c.rounds, c.level_name, c.call_status, c.hangup_by, c.phone_cipher,
                  c.call_date, t.turns, s.source, s.shard
           FROM call_record_enriched c
           LEFT JOIN call_transcript t ON t.org_id = c.org_id AND t.callid = c.callid
           LEFT JOIN source_call s ON s.org_id = c.org_id AND s.callid = c.callid
           WHERE c.org_id = (SELECT $1::uuid) AND c.callid = ANY($2::text[])""",
        org_id, list(callids),
    )  # fmt: skip
    return {row["callid"]: row for row in rows}


async def callids_of_day(
    tx: Transaction, org_id: UUID, source: str, shard: str | None, day: dt.date
) -> list[str]:
    """The calls of that local day that came from that table, or from any of the source."""
    rows = await tx.fetch(
        """SELECT c.callid FROM call_record_enriched c
           JOIN source_call s ON s.org_id = c.org_id AND s.callid = c.callid
           WHERE c.org_id = $1 AND c.call_date = $2 AND s.source = $3
             AND ($4::text IS NULL OR s.shard = $4)""",
        org_id, day, source, shard,
    )  # fmt: skip
    return [row["callid"] for row in rows]


# Messages.


async def take_message(tx: Transaction, org_id: UUID, source: str, message_id: str) -> bool:
    """False for one that came before."""
    taken = await tx.fetchval(
        """INSERT INTO source_message (org_id, source, message_id) VALUES ($1, $2, $3)
           ON CONFLICT DO NOTHING RETURNING true""",
        org_id, source, message_id,
    )  # fmt: skip
    return bool(taken)


async def forget_messages(tx: Transaction, org_id: UUID, source: str, before: dt.datetime) -> None:
    await tx.execute(
        "DELETE FROM source_message WHERE org_id = $1 AND source = $2 AND received_at < $3",
        org_id, source, before,
    )  # fmt: skip
