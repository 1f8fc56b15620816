"""Revocations: how the gateway learns that a session ended before its tokens expire, and that a
key ended or counts for something else than the gateway remembers.

They are written in the transaction of the change and, after it, published on the cache channel
`revocations`, one JSON object each. A gateway that missed the message finds them by polling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson
import structlog

from ai_services.auth.store import revocations as store
from ai_services.auth.store import sessions
from ai_services.auth.store.api_keys import ApiKey
from ai_services.auth.store.revocations import Revocation
from ai_services.auth.user import User
from shared.cursor import EPOCH, Listing, Page, moment, word
from shared.data_access.ports import Cache, Relational, Transaction
from shared.errors import StoreUnavailable

CHANNEL: Final = "revocations"
# A gateway keeps the answer about an API key for 30 s, much less than this.
KEY_LIFE: Final = timedelta(hours=1)
# A transaction that was slow to commit shows up later than the time that it carries.
_OVERLAP: Final = timedelta(seconds=30)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Changes:
    """One poll: what was revoked, and from when on to ask next time."""

    page: Page[Revocation]
    as_of: datetime


class Revocations:
    def __init__(
        self,
        relational: Relational,
        cache: Cache,
        session_life: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._relational = relational
        self._cache = cache
        self._session_life = session_life
        self._clock = clock

    async def end_sessions(
        self, tx: Transaction, org_id: UUID, families: Sequence[UUID], now: datetime
    ) -> list[Revocation]:
        """Write that these sessions have ended; `publish` the result after the commit."""
        ended = [
            Revocation(org_id, f"session:{family}", now, now + self._session_life)
            for family in families
        ]
        return await store.insert(tx, ended)

    async def end_sessions_of(
        self, tx: Transaction, user: User, now: datetime, *, spare: Sequence[UUID] = ()
    ) -> list[Revocation]:
        """As `end_sessions`, for all of a user that are alive, but those in `spare`."""
        families = await sessions.revoke_families_of(
            tx, user.org_id, user.user_id, now, spare=spare
        )
        return await self.end_sessions(tx, user.org_id, families, now)

    async def recall_keys(
        self, tx: Transaction, org_id: UUID, keys: Sequence[ApiKey], now: datetime
    ) -> list[Revocation]:
        """Write that these keys have ended or count for something else, so that gateways ask
        again; `publish` the result after the commit.
        """
        recalled = [Revocation(org_id, key.subject, now, now + KEY_LIFE) for key in keys]
        return await store.insert(tx, recalled)

    async def publish(self, revocations: Sequence[Revocation]) -> None:
        """Tell the gateways. They poll too, so a cache that is away delays this and no more."""
        try:
            for revocation in revocations:
                await self._cache.publish(CHANNEL, _message(revocation))
        except StoreUnavailable as error:
            log.warning("revocations wait for the gateways' next poll", reason=error.message)

    async def changes(self, *, since: datetime | None, cursor: str | None, limit: int) -> Changes:
        """Revocations of all organisations at or after `since`, oldest first, that still matter."""
        now = self._clock()
        pages = Listing("revocations", (), lambda at, subject: (moment(at), word(subject)))
        after = pages.position(cursor) or (since or EPOCH, "")
        async with self._relational.system() as tx:
            rows = await store.listing(tx, after=after, now=now, limit=limit + 1)
        found = pages.page(rows, limit, lambda r: [r.revoked_at, r.subject])
        return Changes(found, now - _OVERLAP)


def _message(revocation: Revocation) -> bytes:
    return orjson.dumps(
        {
            "org_id": str(revocation.org_id),
            "subject": revocation.subject,
            "revoked_at": revocation.revoked_at.isoformat(),
            "expires_at": revocation.expires_at.isoformat(),
        }
    )
