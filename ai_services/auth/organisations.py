"""Organisations: everything belongs to one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ai_services.auth.store import organisations as store
from shared.audit import trail
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, InvalidInput, NotFound

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Organisation:
    """`slug` is its short name in commands, `timezone` the IANA zone of its dates."""

    org_id: UUID
    slug: str
    name: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Organisations:
    relational: Relational
    clock: Callable[[], datetime]

    async def create(self, slug: str, name: str, timezone: str, *, actor: str) -> Organisation:
        """A new organisation without users; Conflict if the slug is taken."""
        require_slug(slug)
        _require_name(name)
        _require_timezone(timezone)
        async with self.relational.system() as tx:
            return await insert(tx, slug, name, timezone, actor=actor, at=self.clock())

    async def get(self, org_id: UUID) -> Organisation:
        async with self.relational.tenant(org_id, readonly=True) as tx:
            row = await store.find(tx, org_id)
        if row is None:
            raise NotFound("There is no such organisation.")
        return Organisation(row["org_id"], row["slug"], row["name"], row["timezone"])

    async def id_of(self, slug: str) -> UUID:
        async with self.relational.system() as tx:
            org_id = await store.id_of(tx, slug)
        if org_id is None:
            raise NotFound(f"There is no organisation {slug!r}.")
        return org_id


async def listing(relational: Relational) -> list[Organisation]:
    """All there are, by slug."""
    async with relational.system() as tx:
        rows = await store.listing(tx)
    return [Organisation(**row) for row in rows]


async def insert(
    tx: Transaction, slug: str, name: str, timezone: str, *, actor: str, at: datetime
) -> Organisation:
    """Write a new organisation, its values checked, in a system transaction."""
    org_id = await store.insert(tx, slug, name, timezone, at)
    if org_id is None:
        raise Conflict(f"slug: {slug!r} is taken by another organisation. Choose another one.")
    await trail.record(
        tx, org_id, at=at, actor=actor, action="organisation.created",
        target=f"organisation:{org_id}", details={"slug": slug, "name": name, "timezone": timezone},
    )  # fmt: skip
    return Organisation(org_id, slug, name, timezone)


def require_slug(slug: str) -> None:
    """Raise InvalidInput unless `slug` may be an organisation's short name."""
    if _SLUG.fullmatch(slug) is None:
        raise InvalidInput.of("slug", f"{slug[:80]!r} is not a short name",
                "use 1 to 63 of a-z, 0-9 and -, starting with a letter or digit")  # fmt: skip


def _require_name(name: str) -> None:
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise InvalidInput.of(
            "name",
            "is empty, too long or has characters that can't be shown",
            "send 1 to 200 characters",
        )


def _require_timezone(timezone: str) -> None:
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput.of(
            "timezone", f"{timezone[:80]!r} is not an IANA time zone", "e.g. Asia/Shanghai"
        ) from error
