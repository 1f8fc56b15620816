"""What the command line asks the database itself: who there is, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class Organisation:
    org_id: UUID
    slug: str
    name: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """What an organisation has. `first` and `last` are local dates of calls, None without any."""

    calls: int
    transcripts: int
    analysed: int
    users: int
    periods: int
    portraits: int
    first: str | None
    last: str | None


async def organisations(tx: Transaction) -> list[Organisation]:
    """All of them by slug; needs a system transaction."""
    rows = await tx.fetch("SELECT org_id, slug, name, timezone FROM organisation ORDER BY slug")
    return [Organisation(**row) for row in rows]


async def holdings(tx: Transaction, org_id: UUID) -> Holdings:
    row = await tx.fetchrow(
        """SELECT c.*, p.periods, s.portraits
           FROM (SELECT count(*) AS calls,
                        count(*) FILTER (WHERE has_transcript) AS transcripts,
                        count(*) FILTER (WHERE has_transcript AND llm_analyzed_at IS NOT NULL)
                            AS analysed,
                        count(DISTINCT user_id) AS users,
                        min(call_date)::text AS first, max(call_date)::text AS last
                 FROM call_record_enriched WHERE org_id = $1) c,
                (SELECT count(*) AS periods FROM period_registry
                 WHERE org_id = $1 AND status = 'completed') p,
                (SELECT count(*) AS portraits FROM user_portrait_snapshot WHERE org_id = $1) s""",
        org_id,
    )
    assert row is not None  # aggregates without GROUP BY give one row
    return Holdings(**row)


async def has_calls(tx: Transaction, org_id: UUID) -> bool:
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT FROM call_record_enriched WHERE org_id = $1)", org_id
        )
    )


async def unanalysed(tx: Transaction, org_id: UUID) -> int:
    """Transcripts that no analyser has seen, those being analysed right now too."""
    waiting: int = await tx.fetchval(
        """SELECT count(*) FROM call_record_enriched
           WHERE org_id = $1 AND has_transcript AND llm_analyzed_at IS NULL""",
        org_id,
    )
    return waiting


async def first_admin(tx: Transaction, org_id: UUID) -> str | None:
    """The e-mail address of the admin who is there longest."""
    email: str | None = await tx.fetchval(
        """SELECT email FROM app_user WHERE org_id = $1 AND role = 'admin' AND NOT disabled
           ORDER BY created_at LIMIT 1""",
        org_id,
    )
    return email


async def import_finished(tx: Transaction, org_id: UUID, source: str) -> bool:
    return bool(
        await tx.fetchval(
            """SELECT EXISTS (SELECT FROM import_run
               WHERE org_id = $1 AND source = $2 AND finished_at IS NOT NULL)""",
            org_id,
            source,
        )
    )


async def portraits_outdated(tx: Transaction, org_id: UUID) -> bool:
    """Whether a call changed after the last computation, or there was none."""
    return bool(
        await tx.fetchval(
            """SELECT coalesce((SELECT max(updated_at) FROM call_record_enriched WHERE org_id = $1)
                   > (SELECT max(computed_at) FROM period_registry WHERE org_id = $1), true)""",
            org_id,
        )
    )


async def busiest_user(tx: Transaction, org_id: UUID) -> str | None:
    """The account with most calls in the newest quarter."""
    user: str | None = await tx.fetchval(
        """SELECT user_id FROM user_portrait_snapshot WHERE org_id = $1 AND period_type = 'quarter'
           ORDER BY period_key DESC, total_calls DESC, user_id LIMIT 1""",
        org_id,
    )
    return user
