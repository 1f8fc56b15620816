"""API keys of machine clients: `looma_` and 32 random bytes, shown once, kept as SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.auth import audit
from ai_services.auth.revocations import Revocations
from ai_services.auth.store import api_keys as store
from ai_services.auth.store.api_keys import ApiKey
from ai_services.auth.user import require_grantable, user_id_of
from shared.cursor import Listing, Page, dated
from shared.data_access.ports import Relational
from shared.errors import Conflict, Detail, InvalidInput, NotFound
from shared.security import Principal, Role

_MARK: Final = "looma_"  # lets secret scanners recognise one
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
    ) -> NewApiKey:
        """A new key of at most the caller's rights. Conflict if `idempotency_key` made one before:
        its secret isn't kept, so it can't be shown again.
        """
        require_grantable(principal, role)
        org_id, now = principal.org_id, self.clock()
        if expires_at is not None and expires_at <= now:
            problem = Detail("expires_at", "is in the past", "send a time to come, or leave it out")
            raise InvalidInput(f"expires_at: {problem.problem}; {problem.fix}", details=[problem])
        secret = _MARK + secrets.token_urlsafe(32)
        async with self.relational.tenant(org_id) as tx:
            key = await store.insert(
                tx, org_id, name=name, role=role, secret_hash=_hash(secret), prefix=secret[:_SHOWN],
                created_by=user_id_of(principal), at=now, expires_at=expires_at,
                idempotency_key=idempotency_key,
            )  # fmt: skip
            if key is None:
                raise Conflict(
                    "This Idempotency-Key made an API key already, whose secret was shown then and "
                    "is not kept. If it is lost, revoke that key and send a new Idempotency-Key."
                )
            await audit.record(
                tx, org_id, at=now, actor=principal.subject, action="key.created",
                target=key.subject, details={"name": name, "role": role, "prefix": key.prefix},
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

    async def revoke(self, principal: Principal, key_id: UUID) -> None:
        """End a key; the gateways refuse it within 5 s. Revoking it again changes nothing."""
        org_id, now = principal.org_id, self.clock()
        async with self.relational.tenant(org_id) as tx:
            key = await store.lock(tx, org_id, key_id)
            if key is None:
                raise NotFound("There is no such API key in your organisation.")
            if key.revoked_at is not None:
                return
            await store.revoke(tx, key, now)
            ended = await self.revocations.end_key(tx, org_id, key.subject, now)
            await audit.record(
                tx, org_id, at=now, actor=principal.subject, action="key.revoked",
                target=key.subject, details={"name": key.name, "prefix": key.prefix},
            )  # fmt: skip
        await self.revocations.publish(ended)

    async def find(self, secret_hash: bytes) -> ApiKey:
        """The living key with this SHA-256; NotFound if there is none, or it ended."""
        async with self.relational.system() as tx:
            key = await store.by_secret(tx, secret_hash, self.clock())
        if key is None:
            raise NotFound("No living API key has this hash.")
        return key


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
