"""What a caller may at this moment, read in the transaction that acts for them.

A gateway believes a token or a key for some seconds after its rights have changed. Whoever
changes users or keys is therefore looked at once more, under the organisation's lock: nobody who
was disabled, demoted or deleted makes another admin in those seconds, not even in a race.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ai_services.auth.store import api_keys, organisations, revocations, users
from ai_services.auth.store.api_keys import ApiKey
from ai_services.auth.user import user_id_of
from shared.data_access.ports import Transaction
from shared.errors import Unauthenticated
from shared.security import Principal, lesser_role


@dataclass(frozen=True, slots=True)
class Standing:
    """A caller with the role that counts now, and the user who stands behind them: None for the
    operator, the organisation's keys and people of its own identity provider. `key` is the key
    that calls, if one does.
    """

    principal: Principal
    user_id: UUID | None
    key: ApiKey | None = None


async def require_standing(
    tx: Transaction, principal: Principal, scope: str, now: datetime
) -> Standing:
    """The caller's standing, with `scope`; nobody's rights change until the transaction ends.

    Unauthenticated if the session, key or account has ended; Forbidden without the scope.
    """
    await organisations.lock(tx, principal.org_id)
    standing = await _standing(tx, principal, now)
    standing.principal.require(scope)
    return standing


async def _standing(tx: Transaction, principal: Principal, now: datetime) -> Standing:
    if principal.kind == "key":
        return await _of_key(tx, principal, now)
    user_id = user_id_of(principal)
    if user_id is None:
        return Standing(principal, None)
    if await revocations.exists(tx, principal.org_id, f"session:{principal.session}"):
        raise _ended()
    user = await users.by_id(tx, principal.org_id, user_id)
    if user is None:  # a token that the operator minted, with nobody behind it
        return Standing(principal, None)
    if user.disabled:
        raise _ended()
    return Standing(replace(principal, role=lesser_role(principal.role, user.role)), user_id)


async def _of_key(tx: Transaction, principal: Principal, now: datetime) -> Standing:
    key = await api_keys.lock(tx, principal.org_id, UUID(principal.subject.removeprefix("key:")))
    if key is None or not key.lives(now) or key.role_now is None:
        raise _ended()
    role = lesser_role(principal.role, key.role_now)
    return Standing(replace(principal, role=role), key.owner_id, key)


def _ended() -> Unauthenticated:
    return Unauthenticated("This session or API key has ended. Sign in again.")
