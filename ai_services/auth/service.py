"""The use cases of the auth service, each a method with its store passed in.

Those about one noun stand beside this file (sessions.py, users.py, api_keys.py, organisations.py);
here they are put together for the routes and the command line, with what needs several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from ai_services.auth.api_keys import ApiKeys
from ai_services.auth.bootstrap import BootstrapResult, FirstStart, bootstrap
from ai_services.auth.cleaning import Cleaning
from ai_services.auth.organisations import Organisations
from ai_services.auth.profile import Profile, profile
from ai_services.auth.sign_in.limit import SignInLimit
from ai_services.auth.sign_in.passwords import HashCost, Passwords
from ai_services.auth.sign_in.sessions import Sessions, SignedIn
from ai_services.auth.store.api_keys import ApiKey
from ai_services.auth.tokens.revocations import Changes, Revocations
from ai_services.auth.tokens.signing import TokenSigner, TokenTerms
from ai_services.auth.users import Users
from shared.audit import trail
from shared.audit.chain import Entry
from shared.config import Config
from shared.cursor import Page
from shared.data_access.ports import Cache, Relational
from shared.errors import Forbidden
from shared.secrets import data_key
from shared.security import Principal

_GATEWAY: Final = "service:gateway"


@dataclass(frozen=True, slots=True)
class Auth:
    relational: Relational
    passwords: Passwords
    signer: TokenSigner
    revocations: Revocations
    sessions: Sessions
    users: Users
    api_keys: ApiKeys
    organisations: Organisations
    cleaning: Cleaning
    first: FirstStart
    clock: Callable[[], datetime]

    async def login(self, email: str, password: str, address: str) -> SignedIn:
        """As `Sessions.login`; the first admin's password file goes when that admin comes in."""
        signed_in = await self.sessions.login(email, password, address)
        if signed_in.user.email == self.first.email:
            self.first.password_file.unlink(missing_ok=True)
        return signed_in

    async def me(self, principal: Principal) -> Profile:
        """Who the caller is."""
        return await profile(self.relational, self.organisations, principal)

    async def audit_log(
        self, principal: Principal, *, limit: int, cursor: str | None
    ) -> Page[Entry]:
        """What was changed in the caller's organisation, newest first."""
        return await trail.list_entries(
            self.relational, principal.org_id, limit=limit, cursor=cursor
        )

    async def verify_key(self, principal: Principal, secret_hash: bytes) -> ApiKey:
        """As `ApiKeys.find`, for the gateway itself; Forbidden for anybody else."""
        _require_gateway(principal)
        return await self.api_keys.find(secret_hash)

    async def revoked(
        self, principal: Principal, *, since: datetime | None, cursor: str | None, limit: int
    ) -> Changes:
        """As `Revocations.changes`, for the gateway itself; Forbidden for anybody else."""
        _require_gateway(principal)
        return await self.revocations.changes(since=since, cursor=cursor, limit=limit)

    async def start(self) -> BootstrapResult | None:
        """Make what the first start makes, and the first signing key."""
        made = await bootstrap(self.relational, self.passwords, self.first, self.clock)
        await self.signer.ensure()
        return made


@contextmanager
def open_auth(
    config: Config,
    relational: Relational,
    cache: Cache,
    *,
    cost: HashCost | None = None,
    limit: SignInLimit | None = None,
    clock: Callable[[], datetime] | None = None,
) -> Iterator[Auth]:
    """The use cases over these stores, which need not be up. ConfigError for wrong settings."""
    clock, limit = clock or _now, limit or SignInLimit()
    first = FirstStart.of(config)
    terms = TokenTerms.of(config)
    signer = TokenSigner(relational, data_key(config), terms, clock)
    revocations = Revocations(relational, cache, terms.outlived, clock)
    passwords = Passwords(cost or HashCost())
    try:
        yield Auth(
            relational,
            passwords,
            signer,
            revocations,
            Sessions(relational, passwords, limit, signer, revocations, terms, clock),
            Users(relational, passwords, limit, revocations, clock),
            ApiKeys(relational, revocations, clock),
            Organisations(relational, clock),
            Cleaning(relational, terms, limit, clock),
            first,
            clock,
        )
    finally:
        passwords.close()


def operator(org_id: UUID) -> Principal:
    """Whoever runs the command line on the platform's own machine."""
    return Principal(org_id, "service:cli", "admin", "service")


def _require_gateway(principal: Principal) -> None:
    if principal.kind != "service" or principal.subject != _GATEWAY:
        raise Forbidden("Only the gateway itself may ask this.")


def _now() -> datetime:
    return datetime.now(UTC)
