"""The issuer's public keys (JWKS, RFC 7517), kept in memory and fetched beside the requests.

Fresh for 300 s, then renewed in the background; when that fails they still serve for an hour. A
key id that nobody knows causes one fetch for all who ask, at most every 10 s, so that a rotation
is noticed at once and a flood of invented ids is not passed on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.errors import LoomaError, UpstreamError, UpstreamUnavailable

FRESH_S: Final = 300.0
STALE_S: Final = 3600.0
FORCED_EVERY_S: Final = 10.0
_RETRY_S: Final = 1.0
_MAX_RETRY_S: Final = 15.0
_MIN_RSA_BITS: Final = 2048
_MAX_KEYS: Final = 64
_ALGORITHMS: Final[Mapping[tuple[Any, Any], str]] = {
    ("OKP", "Ed25519"): "EdDSA",
    ("RSA", None): "RS256",
}
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and the one algorithm that it verifies."""

    kid: str
    algorithm: str  # 'EdDSA' or 'RS256'
    public: Ed25519PublicKey | RSAPublicKey


class SigningKeys:
    """`fetch` returns the decoded JWKS document or raises UpstreamError."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Any]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, VerificationKey] = {}
        self._fetched_at: float | None = None
        self._fetches = 0
        self._failed_at = float("-inf")
        self._forced_at = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> VerificationKey | None:
        """The key of this id, None if the issuer has none.

        UpstreamUnavailable when no usable key set can be had.
        """
        age = self.age
        if age is None or age > FRESH_S + STALE_S:
            await self._renewed()
        elif age > FRESH_S:
            self._renew()
        key = self._keys.get(kid)
        if key is not None:
            return key
        if self._flight is None and self._clock() - self._forced_at < FORCED_EVERY_S:
            return None
        self._forced_at = self._clock()
        await self._renewed()
        return self._keys.get(kid)

    @property
    def age(self) -> float | None:
        """Seconds since the keys were fetched; None before the first time."""
        return None if self._fetched_at is None else self._clock() - self._fetched_at

    async def renew_forever(self) -> None:
        """Fetch every 300 s; try again each second (then less often) until it works."""
        delay = _RETRY_S
        while True:
            try:
                await self._renewed()
                delay = _RETRY_S
                await asyncio.sleep(FRESH_S)
            except UpstreamUnavailable:
                await asyncio.sleep(delay)
                delay = min(delay * 2, _MAX_RETRY_S)

    def close(self) -> None:
        if self._flight is not None:
            self._flight.cancel()

    async def _renewed(self) -> None:
        before = self._fetches
        flight = self._renew()
        if flight is not None:
            await asyncio.shield(flight)
        if self._fetches == before:
            raise UpstreamUnavailable(
                "The keys that verify access tokens can't be fetched. Try again in a moment."
            )

    def _renew(self) -> asyncio.Task[None] | None:
        """The fetch under way; None right after a failed one."""
        if self._flight is None and self._clock() - self._failed_at >= _RETRY_S:
            self._flight = asyncio.create_task(self._fly(), name="jwks")
        return self._flight

    async def _fly(self) -> None:
        try:
            self._keys = parse_jwks(await self._fetch())
            self._fetched_at = self._clock()
            self._fetches += 1
        except LoomaError as error:
            self._failed_at = self._clock()
            log.warning("signing keys not renewed", reason=error.message)
        finally:
            self._flight = None


def parse_jwks(document: Any) -> dict[str, VerificationKey]:
    """Key id → key, for the keys that may verify a token; UpstreamError if it is no key set.

    Symmetric keys, weak ones, and those for other uses or algorithms are left out.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise UpstreamError("The auth service sent something that is no JWK set.")
    found = [_key(jwk) for jwk in keys[:_MAX_KEYS] if isinstance(jwk, dict)]
    return {key.kid: key for key in found if key is not None}


def _key(jwk: Mapping[str, Any]) -> VerificationKey | None:
    kid = jwk.get("kid")
    algorithm = _ALGORITHMS.get((jwk.get("kty"), jwk.get("crv")))
    if (
        not isinstance(kid, str)
        or algorithm is None
        or jwk.get("alg", algorithm) != algorithm
        or jwk.get("use", "sig") != "sig"
    ):
        return None
    try:
        public = jwt.PyJWK({**jwk, "alg": algorithm}).key
    except jwt.PyJWTError as error:
        log.warning("unreadable signing key", kid=kid[:64], reason=str(error))
        return None
    if isinstance(public, RSAPublicKey):
        return VerificationKey(kid, algorithm, public) if public.key_size >= _MIN_RSA_BITS else None
    return VerificationKey(kid, algorithm, public) if isinstance(public, Ed25519PublicKey) else None
