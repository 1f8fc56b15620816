"""Sessions: signing in, rotating refresh tokens, signing out.

A refresh token is 32 random bytes, kept as SHA-256, and good for one use. One that is used a
second time was stolen or copied, and nobody can tell which of the two is the thief: the whole
session ends, with no period of grace. A client must therefore refresh from one place at a time.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from ai_services.auth.emails import normalise_email
from ai_services.auth.sign_in.limit import Charge, SignInLimit
from ai_services.auth.sign_in.passwords import Passwords, normalise_password
from ai_services.auth.store import sessions as store
from ai_services.auth.store import users
from ai_services.auth.store.revocations import Revocation
from ai_services.auth.store.sessions import RefreshToken
from ai_services.auth.tokens.revocations import Revocations
from ai_services.auth.tokens.signing import TokenSigner, TokenTerms
from ai_services.auth.user import User, require_grantable, user_id_of
from shared.audit import trail
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, TooManyRequests, Unauthenticated
from shared.security import Principal, Role

# Whose turns at the database the requests of people who aren't signed in take: as many of one kind
# as there may be, they leave some to the other and to every organisation.
SIGN_IN: Final = "sign-in"
REFRESH: Final = "refresh"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user with their tokens; `expires_in` is the life of the access token in seconds."""

    user: User
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True, slots=True)
class Sessions:
    relational: Relational
    passwords: Passwords
    limit: SignInLimit
    signer: TokenSigner
    revocations: Revocations
    terms: TokenTerms
    clock: Callable[[], datetime]

    async def login(self, email: str, password: str, address: str) -> SignedIn:
        """Open a session. Unauthenticated for whatever is wrong, always the same after the same
        time; TooManyRequests after too many failures of the account or from `address`.
        """
        known = normalise_email(email)
        charge = Charge.of(known or email, address)
        async with self.relational.system(who=SIGN_IN) as tx:
            await self.limit.charge(tx, charge, self.clock())
            user = await users.by_email(tx, known) if known else None
        try:
            right = await self.passwords.verify(user.password_hash if user else None, password)
            renewed = await self._renewed(user, password) if right else None
        except TooManyRequests:
            async with self.relational.system(who=SIGN_IN) as tx:
                await self.limit.refund(tx, charge)
            raise
        signed_in = await self._open(user, charge, renewed, address) if user and right else None
        if signed_in is None:
            await self._refuse(user, address)
            raise Unauthenticated("The e-mail address or the password is wrong.")
        return signed_in

    async def refresh(self, token: str, address: str) -> SignedIn:
        """Swap a refresh token for a new pair; Unauthenticated unless it is alive and unused."""
        now = self.clock()
        fresh = secrets.token_urlsafe(32)
        async with self.relational.system(who=REFRESH) as tx:
            user, known = await self._alive(tx, _hash(token), now)
            ended: Sequence[Revocation] = ()
            if known.used_at is None:
                await store.mark_used(tx, _hash(token), now)
                await self._issue(tx, user, known.family_id, fresh, now)
            else:
                ended = await self._end_reused(tx, user, known.family_id, now, address)
        if ended:
            await self.revocations.publish(ended)
            raise Unauthenticated(
                "This refresh token was used before, so its session has ended. Sign in again."
            )
        return await self._tokens(user, known.family_id, fresh)

    async def logout(self, principal: Principal) -> None:
        """End the session that `principal` signed in with; Conflict for an API key, which has none."""
        try:
            family = UUID(principal.session)
        except ValueError as error:
            raise Conflict(
                "There is no session to end: this is not a signed-in user. "
                "An API key is ended by revoking it: DELETE /api/v1/keys/{key_id}."
            ) from error
        user_id, now = user_id_of(principal), self.clock()
        async with self.relational.tenant(principal.org_id) as tx:
            if user_id is not None:
                await users.lock(tx, principal.org_id, user_id)
            await store.revoke_family(tx, principal.org_id, family, now)
            ended = await self.revocations.end_sessions(tx, principal.org_id, [family], now)
            await trail.record(
                tx, principal.org_id, at=now, actor=principal.subject, action="session.logout",
                target=f"session:{family}",
            )  # fmt: skip
        await self.revocations.publish(ended)

    async def mint(self, principal: Principal, role: Role) -> str:
        """An access token for `role` in the principal's organisation that no user stands behind."""
        require_grantable(principal, role)
        subject, session = f"user:{uuid4()}", uuid4()
        async with self.relational.tenant(principal.org_id) as tx:
            await trail.record(
                tx, principal.org_id, at=self.clock(), actor=principal.subject,
                action="token.minted", target=subject,
                details={"role": role, "session": str(session)},
            )  # fmt: skip
        return await self.signer.sign(principal.org_id, subject, role, session)

    async def _renewed(self, user: User | None, password: str) -> str | None:
        """A new hash if the user's was made with parameters of another day."""
        if user is None or not self.passwords.outdated(user.password_hash):
            return None
        return await self.passwords.hash(normalise_password(password))

    async def _open(
        self, user: User, charge: Charge, renewed: str | None, address: str
    ) -> SignedIn | None:
        """A new session; None if the account changed while its password was checked."""
        now, family, fresh = self.clock(), uuid4(), secrets.token_urlsafe(32)
        async with self.relational.system(who=SIGN_IN) as tx:
            locked = await users.lock(tx, user.org_id, user.user_id)
            if locked is None or locked.disabled or locked.password_hash != user.password_hash:
                return None
            if renewed is not None:
                await users.set_password(tx, locked, renewed, locked.updated_at)
            await self._issue(tx, locked, family, fresh, now)
            await self.limit.succeed(tx, charge)
            await trail.record(
                tx, user.org_id, at=now, actor=user.subject, action="session.login",
                target=f"session:{family}", details={"address": _shown(address)},
            )  # fmt: skip
        return await self._tokens(locked, family, fresh)

    async def _refuse(self, user: User | None, address: str) -> None:
        # An unknown account costs a transaction too; only an organisation has a log to write to.
        async with self.relational.system(who=SIGN_IN) as tx:
            if user is None:
                return
            await trail.record(
                tx, user.org_id, at=self.clock(), actor="anonymous", action="session.refused",
                target=user.subject, details={"address": _shown(address)},
            )  # fmt: skip

    async def _alive(
        self, tx: Transaction, token_hash: bytes, now: datetime
    ) -> tuple[User, RefreshToken]:
        """The token and its user, locked; Unauthenticated if the session has ended."""
        found = await store.find(tx, token_hash)
        user = await users.lock(tx, found.org_id, found.user_id) if found else None
        known = await store.find(tx, token_hash)  # as it is now that nobody else can change it
        if user is None or user.disabled or known is None:
            raise _ended()
        if known.revoked_at is not None or known.expires_at <= now:
            raise _ended()
        return user, known

    async def _end_reused(
        self, tx: Transaction, user: User, family: UUID, now: datetime, address: str
    ) -> list[Revocation]:
        await store.revoke_family(tx, user.org_id, family, now)
        ended = await self.revocations.end_sessions(tx, user.org_id, [family], now)
        await trail.record(
            tx, user.org_id, at=now, actor="anonymous", action="session.token_reused",
            target=f"session:{family}",
            details={"user": user.subject, "address": _shown(address)},
        )  # fmt: skip
        return ended

    async def _issue(
        self, tx: Transaction, user: User, family: UUID, token: str, now: datetime
    ) -> None:
        await store.insert(
            tx, user.org_id, user.user_id, token_hash=_hash(token), family_id=family,
            issued_at=now, expires_at=now + timedelta(seconds=self.terms.refresh_s),
        )  # fmt: skip

    async def _tokens(self, user: User, family: UUID, refresh_token: str) -> SignedIn:
        access_token = await self.signer.sign(user.org_id, user.subject, user.role, family)
        return SignedIn(user, access_token, refresh_token, self.terms.access_s)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _ended() -> Unauthenticated:
    return Unauthenticated("This refresh token is not valid, or its session has ended. Sign in.")


def _shown(address: str) -> str:
    """A client address for the audit log: printable ASCII, bounded."""
    return "".join(c for c in address[:64] if " " < c < "\x7f")
