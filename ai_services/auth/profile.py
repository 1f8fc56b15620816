"""Who the caller is."""

from __future__ import annotations

from dataclasses import dataclass

from ai_services.auth.organisations import Organisation, Organisations
from ai_services.auth.store import users
from ai_services.auth.user import User, user_id_of
from shared.data_access.ports import Relational
from shared.security import Principal


@dataclass(frozen=True, slots=True)
class Profile:
    principal: Principal
    organisation: Organisation
    user: User | None


async def profile(
    relational: Relational, organisations: Organisations, principal: Principal
) -> Profile:
    """The principal with its organisation and, if a user stands behind it, that user."""
    organisation = await organisations.get(principal.org_id)
    user_id = user_id_of(principal)
    if user_id is None:
        return Profile(principal, organisation, None)
    async with relational.tenant(principal.org_id, readonly=True) as tx:
        user = await users.by_id(tx, principal.org_id, user_id)
    return Profile(principal, organisation, user)
