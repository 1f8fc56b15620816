"""Queries of sign-in throttling. Only the system role sees this table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from ai_services.auth.sign_in.throttle import Attempts
from shared.data_access.ports import Transaction


async def lock(tx: Transaction, subjects: Sequence[str], now: datetime) -> dict[str, Attempts]:
    """The attempts of each subject, which nobody else can change until the transaction ends."""
    # In one order everywhere, so that two transactions never wait for each other.
    await tx.execute(
        """INSERT INTO login_throttle (subject, failures, last_failure)
           SELECT subject, 0, $2 FROM unnest($1::text[]) AS subject ORDER BY subject
           ON CONFLICT DO NOTHING""",
        list(subjects),
        now,
    )
    rows = await tx.fetch(
        """SELECT subject, failures, last_failure, blocked_until FROM login_throttle
           WHERE subject = ANY($1::text[]) ORDER BY subject FOR UPDATE""",
        list(subjects),
    )
    return {
        row["subject"]: Attempts(row["failures"], row["last_failure"], row["blocked_until"])
        for row in rows
    }


async def save(tx: Transaction, attempts: Mapping[str, Attempts]) -> None:
    await tx.executemany(
        """UPDATE login_throttle SET failures = $2, last_failure = $3, blocked_until = $4
           WHERE subject = $1""",
        [(s, a.failures, a.last_failure, a.blocked_until) for s, a in attempts.items()],
    )


async def forget(tx: Transaction, subject: str) -> None:
    await tx.execute("DELETE FROM login_throttle WHERE subject = $1", subject)


async def refund(tx: Transaction, subject: str) -> None:
    """Take back one charged failure and the block that it brought."""
    await tx.execute(
        """UPDATE login_throttle
           SET failures = greatest(failures - 1, 0), blocked_until = NULL
           WHERE subject = $1""",
        subject,
    )
