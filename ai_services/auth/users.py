"""Users of an organisation: who they are, what they may, their passwords.

An organisation keeps at least one admin who can sign in. Whatever takes rights away ends the
sessions that had them; a disabled or deleted user's API keys end, for good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.auth.emails import require_email
from ai_services.auth.sign_in.limit import Charge, SignInLimit
from ai_services.auth.sign_in.passwords import Passwords, require_password
from ai_services.auth.standing import require_standing
from ai_services.auth.store import api_keys
from ai_services.auth.store import users as store
from ai_services.auth.store.revocations import Revocation
from ai_services.auth.tokens.revocations import Revocations
from ai_services.auth.user import User, require_grantable, user_id_of
from shared.audit import trail
from shared.cursor import Listing, Page, dated
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, Forbidden, InvalidInput, NotFound, TooManyRequests
from shared.security import Principal, Role

_SCOPE: Final = "users:admin"


@dataclass(frozen=True, slots=True)
class PasswordReplaced:
    """How many sessions and API keys ended with the old password."""

    sessions_ended: int
    keys_ended: int


@dataclass(frozen=True, slots=True)
class Users:
    relational: Relational
    passwords: Passwords
    limit: SignInLimit
    revocations: Revocations
    clock: Callable[[], datetime]

    async def listing(self, principal: Principal, *, limit: int, cursor: str | None) -> Page[User]:
        """Oldest first."""
        pages = Listing("users", (str(principal.org_id),), dated)
        after = pages.position(cursor)
        async with self.relational.tenant(principal.org_id, readonly=True) as tx:
            found = await store.listing(tx, principal.org_id, after, limit + 1)
        return pages.page(found, limit, lambda u: [u.created_at, u.user_id])

    async def get(self, principal: Principal, user_id: UUID) -> User:
        async with self.relational.tenant(principal.org_id, readonly=True) as tx:
            return _found(await store.by_id(tx, principal.org_id, user_id))

    async def create(
        self,
        principal: Principal,
        *,
        email: str,
        name: str,
        role: Role,
        password: str,
        idempotency_key: str | None = None,
    ) -> User:
        """A new user. Conflict if the address is taken; the same request under the same
        idempotency key gives the user that it made before.
        """
        require_grantable(principal, role)
        email = require_email(email)
        hashed = await self.passwords.hash(require_password(password, email=email))
        org_id, now = principal.org_id, self.clock()
        async with self.relational.tenant(org_id) as tx:
            standing = await require_standing(tx, principal, _SCOPE, now)
            require_grantable(standing.principal, role)
            user = await store.insert(
                tx, org_id, email=email, name=name, role=role, password_hash=hashed, at=now,
                idempotency_key=idempotency_key,
            )  # fmt: skip
            if user is None:
                return await self._made_before(tx, org_id, email, idempotency_key)
            await trail.record(
                tx, org_id, at=now, actor=principal.subject, action="user.created",
                target=user.subject, details={"email": email, "role": role},
            )  # fmt: skip
        return user

    async def _made_before(
        self, tx: Transaction, org_id: UUID, email: str, idempotency_key: str | None
    ) -> User:
        if idempotency_key is not None:
            user = await store.by_idempotency_key(tx, org_id, idempotency_key)
            if user is not None and user.email == email:
                return user
            if user is not None:
                raise Conflict(
                    "This Idempotency-Key made another user. Send a new key with a new request."
                )
        raise Conflict(
            "email: this address has an account already. Use another one, or change that account."
        )

    async def update(
        self,
        principal: Principal,
        user_id: UUID,
        *,
        name: str | None = None,
        role: Role | None = None,
        disabled: bool | None = None,
    ) -> User:
        """Change what is given. A new role or a disabled account ends the user's sessions; a
        disabled account its keys, which stay ended when it is enabled again.
        """
        org_id, now = principal.org_id, self.clock()
        ended: list[Revocation] = []
        details: trail.Details = {}
        async with self.relational.tenant(org_id) as tx:
            standing = await require_standing(tx, principal, _SCOPE, now)
            if role is not None:
                require_grantable(standing.principal, role)
            old = _found(await store.lock(tx, org_id, user_id))
            new_name, new_role, off = _merge(old, name, role, disabled)
            if new_role != "admin" or off:
                await _keep_an_admin(tx, old)
            user = _found(
                await store.update(tx, old, name=new_name, role=new_role, disabled=off, at=now)
            )
            if (user.role, user.disabled) != (old.role, old.disabled):
                ended = await self.revocations.end_sessions_of(tx, user, now)
                recalled, details = await self._recall_keys(tx, user, now, end=user.disabled)
                ended += recalled
            await trail.record(
                tx, org_id, at=now, actor=principal.subject, action="user.updated",
                target=user.subject, details={**_difference(old, user), **details},
            )  # fmt: skip
        await self.revocations.publish(ended)
        return user

    async def delete(self, principal: Principal, user_id: UUID) -> None:
        """Remove a user; their sessions and their API keys end."""
        org_id, now = principal.org_id, self.clock()
        async with self.relational.tenant(org_id) as tx:
            await require_standing(tx, principal, _SCOPE, now)
            user = _found(await store.lock(tx, org_id, user_id))
            await _keep_an_admin(tx, user)
            ended = await self.revocations.end_sessions_of(tx, user, now)
            recalled, details = await self._recall_keys(tx, user, now, end=True)
            await store.delete(tx, user)
            await trail.record(
                tx, org_id, at=now, actor=principal.subject, action="user.deleted",
                target=user.subject,
                details={"email": user.email, "role": user.role, **details},
            )  # fmt: skip
        await self.revocations.publish([*ended, *recalled])

    async def _recall_keys(
        self, tx: Transaction, user: User, now: datetime, *, end: bool
    ) -> tuple[list[Revocation], trail.Details]:
        """Let gateways ask again about the user's keys, which end if `end`; what to audit."""
        keys = await api_keys.living_of(tx, user.org_id, user.user_id)
        if end:
            await api_keys.revoke(tx, user.org_id, keys, now)
        recalled = await self.revocations.recall_keys(tx, user.org_id, keys, now)
        return recalled, {"keys_ended": [key.subject for key in keys]} if end and keys else {}

    async def set_password(
        self, principal: Principal, user_id: UUID, password: str, *, end_keys: bool = False
    ) -> PasswordReplaced:
        """Give a user a new password. Their sessions end; their API keys if `end_keys`."""
        user = await self.get(principal, user_id)
        hashed = await self.passwords.hash(require_password(password, email=user.email))
        return await self._replace_password(
            principal, user, hashed, "user.password_set", None, end_keys=end_keys
        )

    async def change_password(
        self, principal: Principal, current: str, new: str, address: str, *, end_keys: bool = False
    ) -> PasswordReplaced:
        """Change the caller's own password. Their other sessions end; their API keys if `end_keys`.

        Wrong guesses of the current password count like failed sign-ins.
        """
        user_id = user_id_of(principal)
        if user_id is None:
            raise Forbidden("Only a signed-in user has a password. Sign in with e-mail first.")
        user = await self.get(principal, user_id)
        wanted = require_password(new, email=user.email, field="new_password")
        charge = Charge.of(user.email, address)
        async with self.relational.system(who=principal.org_id) as tx:
            await self.limit.charge(tx, charge, self.clock())
        try:
            right = await self.passwords.verify(user.password_hash, current)
            hashed = await self.passwords.hash(wanted) if right else ""
        except TooManyRequests:
            async with self.relational.system(who=principal.org_id) as tx:
                await self.limit.refund(tx, charge)
            raise
        if not right:
            raise _wrong_password()
        async with self.relational.system(who=principal.org_id) as tx:
            await self.limit.succeed(tx, charge)
        return await self._replace_password(
            principal, user, hashed, "user.password_changed", user.password_hash,
            end_keys=end_keys,
        )  # fmt: skip

    async def _replace_password(
        self, principal: Principal, user: User, hashed: str, action: str, expected: str | None,
        *, end_keys: bool,
    ) -> PasswordReplaced:  # fmt: skip
        """Store `hashed` unless the hash in the store is no longer the `expected` one."""
        now, own = self.clock(), user_id_of(principal) == user.user_id
        spare = [UUID(principal.session)] if own and principal.session else []
        async with self.relational.tenant(user.org_id) as tx:
            if action == "user.password_set":
                await require_standing(tx, principal, _SCOPE, now)
            locked = _found(await store.lock(tx, user.org_id, user.user_id))
            if expected is not None and locked.password_hash != expected:
                raise _wrong_password()
            await store.set_password(tx, locked, hashed, now)
            ended = await self.revocations.end_sessions_of(tx, locked, now, spare=spare)
            recalled: list[Revocation] = []
            details: trail.Details = {}
            if end_keys:
                recalled, details = await self._recall_keys(tx, locked, now, end=True)
            await trail.record(
                tx, user.org_id, at=now, actor=principal.subject, action=action,
                target=user.subject, details=details,
            )  # fmt: skip
        await self.revocations.publish([*ended, *recalled])
        return PasswordReplaced(len(ended), len(recalled))


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("There is no such user in your organisation.")
    return user


def _merge(
    old: User, name: str | None, role: Role | None, disabled: bool | None
) -> tuple[str, Role, bool]:
    return (
        old.name if name is None else name,
        old.role if role is None else role,
        old.disabled if disabled is None else disabled,
    )


def _difference(old: User, new: User) -> dict[str, str | bool]:
    return {
        name: getattr(new, name)
        for name in ("name", "role", "disabled")
        if getattr(new, name) != getattr(old, name)
    }


async def _keep_an_admin(tx: Transaction, user: User) -> None:
    """Raise Conflict if `user` is the only admin; the organisation must be locked."""
    if user.role != "admin" or user.disabled or await store.other_admin_exists(tx, user):
        return
    raise Conflict("This is the last admin of the organisation. Make another user an admin first.")


def _wrong_password() -> InvalidInput:
    return InvalidInput.of("current_password", "is wrong", "send the password you sign in with")
