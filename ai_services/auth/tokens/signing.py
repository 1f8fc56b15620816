"""The keys that sign access tokens: one signs, retired ones verify until their tokens are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
import structlog

from ai_services.auth.store import signing as store
from ai_services.auth.tokens import key_pair
from ai_services.auth.tokens.key_pair import SigningKey
from shared.config import Config
from shared.data_access.ports import Relational
from shared.errors import ConfigError, StoreUnavailable
from shared.security import Role

# How long after a rotation a replica may sign with the old key, and by how much clocks differ.
RELOAD_S: Final = 5.0
LEEWAY_S: Final = 60.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What every access token says of itself, and how long it and its refresh token live."""

    issuer: str
    audience: str
    access_s: int
    refresh_s: int

    @classmethod
    def of(cls, config: Config) -> TokenTerms:
        """From the settings; ConfigError if an access token could outlive its session."""
        access_s, refresh_s = config.access_token_seconds, config.refresh_token_seconds
        least = access_s + round(LEEWAY_S)
        if refresh_s < least:
            raise ConfigError(
                f"REFRESH_TOKEN_SECONDS: must be {least} or more, a minute above ACCESS_TOKEN_SECONDS, "
                "so that no access token outlives its session. "
                f"Example: REFRESH_TOKEN_SECONDS={least}"
            )
        return cls(config.token_issuer, config.token_audience, access_s, refresh_s)

    @property
    def outlived(self) -> timedelta:
        """After this time no access token issued before can be valid anywhere."""
        return timedelta(seconds=self.access_s + LEEWAY_S)


class TokenSigner:
    """Signs access tokens (JWT, EdDSA) and publishes the keys that verify them."""

    def __init__(
        self,
        relational: Relational,
        data_key: bytes,
        terms: TokenTerms,
        clock: Callable[[], datetime],
    ) -> None:
        self._relational = relational
        self._data_key = data_key
        self._terms = terms
        self._clock = clock
        self._current: tuple[datetime, SigningKey] | None = None
        self._published: dict[str, Any] | None = None

    async def sign(self, org_id: UUID, subject: str, role: Role, session: UUID) -> str:
        """An access token of `subject`; `session` is what a revocation would name."""
        key = await self._signing_key()
        now = int(self._clock().timestamp())
        claims = {
            "iss": self._terms.issuer,
            "aud": self._terms.audience,
            "sub": subject,
            "org": str(org_id),
            "role": role,
            "sid": str(session),
            "iat": now,
            "nbf": now,
            "exp": now + self._terms.access_s,
            "jti": uuid4().hex,
        }
        return jwt.encode(claims, key.private, algorithm="EdDSA", headers={"kid": key.kid})

    async def jwks(self) -> Mapping[str, Any]:
        """The JWK set (RFC 7517). Always fresh; while the database is away, the last one known."""
        retired_after = self._clock() - self._terms.outlived
        try:
            async with self._relational.system() as tx:
                keys = await store.public_keys(tx, retired_after)
        except StoreUnavailable as error:
            if self._published is None:
                raise
            log.warning("serving the JWK set from memory", reason=error.message)
        else:
            self._published = {"keys": keys}
        return self._published

    async def rotate(self) -> str:
        """Make a new key and retire the current one; returns the new `kid`.

        Every replica signs with the new key within 5 s. Works without the old DATA_KEY.
        """
        fresh = key_pair.make(self._data_key)
        now = self._clock()
        async with self._relational.system() as tx:
            await store.lock(tx)
            await store.retire_current(tx, now)
            await store.insert(tx, fresh, now)
        self._current = None
        log.info("signing key rotated", kid=fresh.kid)
        return fresh.kid

    async def ensure(self) -> None:
        """Make the first key unless there is one."""
        await self._signing_key()

    async def _signing_key(self) -> SigningKey:
        now = self._clock()
        if self._current is not None and now - self._current[0] < timedelta(seconds=RELOAD_S):
            return self._current[1]
        async with self._relational.system() as tx:
            sealed = await store.current(tx)
            if sealed is None:
                await store.lock(tx)
                sealed = await store.current(tx)  # another process may have been first
            if sealed is None:
                sealed = key_pair.make(self._data_key)
                await store.insert(tx, sealed, now)
        known = self._current
        if known is not None and known[1].kid == sealed.kid:
            key = known[1]
        else:
            key = key_pair.unseal(sealed, self._data_key)
        self._current = (now, key)
        return key
