"""API keys of machine clients: `looma_` and 32 random bytes, shown once, kept as SHA-256.

A key belongs to the user who made it, and a key that it makes belongs to that user, too. It
counts for its own role as far as its owner's reaches at the moment, and ends when the owner is
disabled or deleted, for good. An admin can hand a living key over to the organisation before
that. The organisation's keys stay when people go, so they administer nothing.

A key that a key made lives no longer than that one: it has its end at the latest, and is revoked
with it, whoever owns it by then.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.auth.emails import normalise_email
from ai_services.auth.standing import require_standing
from ai_services.auth.store import api_keys as store
from ai_services.auth.store import users
from ai_services.auth.store.api_keys import ApiKey
from ai_services.auth.tokens.revocations import Revocations
from ai_services.auth.user import require_grantable, user_id_of
from shared.audit import trail
from shared.cursor import Listing, Page, dated
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, Forbidden, InvalidInput, NotFound
from shared.security import ROLE_SCOPES, Principal, Role, lesser_role

_MARK: Final = "looma_"  # lets secret scanners recognise one
_SCOPE: Final = "keys:admin"
_ORGANISATION: Final = "organisation"
MOST_UNATTENDED: Final[Role] = "analyst"  # what a key without a user behind it may be
KEYS: Final = "keys"  # whose turns at the database the look-ups of everybody's keys take
_SHOWN: Final = len(_MARK) + 6


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """The only time that the secret is known."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKeys:
    relational: Relational
    revocations: Revocations
    clock: Callable[[], datetime]

    async def create(
        self,
        principal: Principal,
        *,
        name: str,
        role: Role,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
        owner_email: str | None = None,
    ) -> NewApiKey:
        """A new key of at most the caller's rights, the caller's own unless the operator names its
        owner. Conflict if `idempotency_key` made one before: its secret isn't kept, so it can't be
        shown again.
        """
        require_grantable(principal, role)
        org_id, now = principal.org_id, self.clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidInput.of(
                "expires_at", "is in the past", "send a time to come, or leave it out"
            )
        secret = _MARK + secrets.token_urlsafe(32)
        async with self.relational.tenant(org_id) as tx:
            standing = await require_standing(tx, principal, _SCOPE, now)
            require_grantable(standing.principal, role)
            owner_id, maker = standing.user_id, standing.key
            if owner_email is not None:
                owner_id = await _owner(tx, standing.principal, owner_email, role)
            elif owner_id is None:
                _require_unattended(role)
            key = await store.insert(
                tx, org_id, name=name, role=role, secret_hash=_hash(secret), prefix=secret[:_SHOWN],
                created_by=user_id_of(principal), owner_id=owner_id, at=now,
                made_by_key=maker.key_id if maker else None,
                expires_at=_end(maker, expires_at), idempotency_key=idempotency_key,
            )  # fmt: skip
            if key is None:
                raise Conflict(
                    "This Idempotency-Key made an API key already, whose secret was shown then and "
                    "is not kept. If it is lost, revoke that key and send a new Idempotency-Key."
                )
            await trail.record(
                tx, org_id, at=now, actor=principal.subject, action="key.created",
                target=key.subject,
                details={"name": name, "role": role, "prefix": key.prefix, "owner": _named(key)},
            )  # fmt: skip
        return NewApiKey(key, secret)

    async def listing(
        self, principal: Principal, *, limit: int, cursor: str | None
    ) -> Page[ApiKey]:
        """Oldest first, revoked and expired ones too."""
        pages = Listing("api_keys", (str(principal.org_id),), dated)
        after = pages.position(cursor)
        async with self.relational.tenant(principal.org_id, readonly=True) as tx:
            found = await store.listing(tx, principal.org_id, after, limit + 1)
        return pages.page(found, limit, lambda k: [k.created_at, k.key_id])

    async def transfer(self, principal: Principal, key_id: UUID, role: Role) -> ApiKey:
        """Hand a living key over to the organisation, with `role` from now on: at most what the
        key counts for and what the caller has at this moment, and nothing that administers.
        """
        org_id, now = principal.org_id, self.clock()
        async with self.relational.tenant(org_id) as tx:
            standing = await require_standing(tx, principal, _SCOPE, now)
            key = _found(await store.lock(tx, org_id, key_id))
            held = key.role_now
            if held is None or not key.lives(now):
                raise Conflict("This API key has ended, for good. Make a new one.")
            require_grantable(standing.principal, role)
            _require_unattended(role)
            if lesser_role(role, held) != role:
                raise Forbidden(f"This key counts for {held!r} now; it can't become {role!r}.")
            if key.owner_id is None and key.role == role:
                return key
            await store.give_to_organisation(tx, key, role)
            recalled = await self.revocations.recall_keys(tx, org_id, [key], now)
            await trail.record(
                tx, org_id, at=now, actor=principal.subject, action="key.transferred",
                target=key.subject, details={
                    "name": key.name, "prefix": key.prefix, "owner_before": _named(key),
                    "owner": _ORGANISATION, "role_before": held, "role": role,
                },
            )  # fmt: skip
        await self.revocations.publish(recalled)
        return replace(key, owner_id=None, owner_role=None, role=role)

    async def revoke(self, principal: Principal, key_id: UUID) -> None:
        """End a key and all that it made; the gateways refuse them within 5 s. Where none of them
        lives any more, nothing changes.
        """
        org_id, now = principal.org_id, self.clock()
        async with self.relational.tenant(org_id) as tx:
            await require_standing(tx, principal, _SCOPE, now)
            key = _found(await store.lock(tx, org_id, key_id))
            made = await store.living_from(tx, org_id, key_id)
            living = made if key.revoked_at is not None else [key, *made]
            if not living:
                return
            await store.revoke(tx, org_id, living, now)
            ended = await self.revocations.recall_keys(tx, org_id, living, now)
            also = {"keys_ended": [one.subject for one in made]} if made else {}
            await trail.record(
                tx, org_id, at=now, actor=principal.subject, action="key.revoked",
                target=key.subject, details={"name": key.name, "prefix": key.prefix, **also},
            )  # fmt: skip
        await self.revocations.publish(ended)

    async def find(self, secret_hash: bytes) -> ApiKey:
        """The living key with this SHA-256; NotFound if there is none, or it ended."""
        async with self.relational.system(who=KEYS) as tx:
            key = await store.by_secret(tx, secret_hash)
        if key is None or not key.lives(self.clock()):
            raise NotFound("No living API key has this hash.")
        return key


def _end(maker: ApiKey | None, wanted: datetime | None) -> datetime | None:
    """When a new key ends: no later than the key that makes it."""
    bound = maker.expires_at if maker else None
    if bound is not None and wanted is not None and wanted > bound:
        raise InvalidInput.of(
            "expires_at",
            f"is later than {bound.isoformat()}, when the key that makes this one ends",
            "send that time or an earlier one, or leave it out",
        )
    return wanted or bound


async def _owner(tx: Transaction, principal: Principal, email: str, role: Role) -> UUID:
    """The user of this address, who may do what `role` may; the operator alone names another."""
    if principal.kind != "service":
        raise Forbidden("A key belongs to whoever makes it. Sign in as the one who shall own it.")
    user = await users.by_email(tx, normalise_email(email) or "")
    if user is None or user.disabled:
        raise NotFound("There is no such user in this organisation, or the account is disabled.")
    if lesser_role(role, user.role) != role:
        raise Forbidden(f"{user.email} is {user.role!r}: a key of theirs can't be {role!r}.")
    return user.user_id


def _require_unattended(role: Role) -> None:
    """Raise Forbidden for a role that administers: a key for it must have a user behind it."""
    if not ROLE_SCOPES[role] <= ROLE_SCOPES[MOST_UNATTENDED]:
        raise Forbidden(
            f"A key of the organisation itself has at most the role {MOST_UNATTENDED!r}: "
            f"one for {role!r} needs a user as its owner, with whom it ends."
        )


def _found(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise NotFound("There is no such API key in your organisation.")
    return key


def _named(key: ApiKey) -> str:
    return _ORGANISATION if key.owner_id is None else f"user:{key.owner_id}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
