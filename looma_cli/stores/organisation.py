"""Which organisation a command is about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from ai_services.auth.organisations import Organisation, listing
from ai_services.auth.service import open_auth
from looma_cli.stores.open_stores import opened
from shared.config import Config
from shared.data_access.access import UnifiedDataAccess
from shared.data_access.ports import Relational
from shared.errors import InvalidInput, NotFound


async def resolve(relational: Relational, slug: str | None, preferred: str) -> Organisation:
    """The one named; else the only one there is; else `preferred` (the setting ORGANISATION)."""
    return choose(await listing(relational), slug, preferred)


def choose(known: Sequence[Organisation], slug: str | None, preferred: str) -> Organisation:
    by_slug = {organisation.slug: organisation for organisation in known}
    listed = ", ".join(by_slug)
    if not known:
        raise NotFound(
            "There is no organisation yet. `looma up` makes the first one, "
            "`looma up --demo` one with demo data."
        )
    if slug is not None:
        if slug not in by_slug:
            raise NotFound(
                f"--org: there is no organisation {slug!r}; there is {listed}. "
                f"Make it with: looma orgs create {slug}"
            )
        return by_slug[slug]
    if len(known) == 1:
        return known[0]
    if preferred in by_slug:
        return by_slug[preferred]
    raise InvalidInput(f"Which organisation? Add --org, one of: {listed}.")


@asynccontextmanager
async def opened_for(config: Config, slug: str | None) -> AsyncIterator[tuple[Relational, UUID]]:
    """PostgreSQL, and the organisation that a command is about."""
    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, slug, config.organisation)
        yield data.relational, organisation.org_id


async def resolve_or_first(
    config: Config, data: UnifiedDataAccess, slug: str | None
) -> Organisation:
    """As `resolve`; where there is no organisation at all, make what the first start makes.

    The password of its admin waits for the next `looma up` to show it.
    """
    with open_auth(config, data.relational, data.cache) as auth:
        await auth.start()
    return await resolve(data.relational, slug, config.organisation)
