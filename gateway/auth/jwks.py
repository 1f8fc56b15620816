"""An issuer's public keys (JWKS, RFC 7517), kept in memory and fetched beside the requests.

Fresh for 300 s, then renewed in the background; when that fails they still serve for an hour. A
key id that nobody knows causes one fetch for all who ask, at most every 10 s, so that a rotation
is noticed at once and a flood of invented ids is not passed on.

Each key verifies one algorithm, which its issuer's list must have: the token has no say in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.errors import LoomaError, UpstreamError, UpstreamUnavailable
from shared.serving.single_flight import SingleFlight

FRESH_S: Final = 300.0
STALE_S: Final = 3600.0
FORCED_EVERY_S: Final = 10.0
_RETRY_S: Final = 1.0
_MAX_RETRY_S: Final = 15.0
_RSA_BITS: Final = range(2048, 8193)  # weaker ones are forged, longer ones take too long
_MAX_EXPONENT: Final = 1 << 32
_MAX_KEYS: Final = 64
_RSA: Final = ("RSA", None)
ASYMMETRIC: Final[Mapping[str, tuple[str, str | None]]] = {  # algorithm → kty, crv of its keys
    "EdDSA": ("OKP", "Ed25519"),
    "RS256": _RSA, "RS384": _RSA, "RS512": _RSA,
    "PS256": _RSA, "PS384": _RSA, "PS512": _RSA,
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"),
}  # fmt: skip
OWN_ALGORITHMS: Final = ("EdDSA", "RS256")  # of the auth service
PublicKey = Ed25519PublicKey | RSAPublicKey | EllipticCurvePublicKey
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and the one algorithm that it verifies."""

    kid: str
    algorithm: str
    public: PublicKey


class SigningKeys:
    """The keys of one issuer, by id; `fetch` returns its JWKS document or raises UpstreamError."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Any]],
        *,
        algorithms: Sequence[str] = OWN_ALGORITHMS,
        source: str = "the auth service",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._algorithms = algorithms
        self._source = source
        self._clock = clock
        self._keys: Mapping[str, VerificationKey] = {}
        self._fetched_at: float | None = None
        self._fetches = 0
        self._failed_at = float("-inf")
        self._forced_at = float("-inf")
        self._fetching: SingleFlight[str, None] = SingleFlight("jwks")

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
        if not self._is_fetching and self._clock() - self._forced_at < FORCED_EVERY_S:
            if self._failed_at >= self._forced_at:
                raise self._unknown()  # what could not be asked is not answered with no
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
        self._fetching.close()

    async def _renewed(self) -> None:
        before = self._fetches
        flight = self._renew()
        if flight is not None:
            await asyncio.shield(flight)
        if self._fetches == before:
            raise self._unknown()

    def _unknown(self) -> UpstreamUnavailable:
        return UpstreamUnavailable(
            "The keys that verify this access token can't be fetched. Try again in a moment."
        )

    def _renew(self) -> asyncio.Task[None] | None:
        """The fetch under way; None right after a failed one."""
        if self._is_fetching or self._clock() - self._failed_at >= _RETRY_S:
            return self._fetching.begin(self._source, self._take)
        return None

    @property
    def _is_fetching(self) -> bool:
        return self._fetching.is_under_way(self._source)

    async def _take(self) -> None:
        try:
            self._keys = parse_jwks(await self._fetch(), self._algorithms)
            self._fetched_at = self._clock()
            self._fetches += 1
        except LoomaError as error:
            self._failed_at = self._clock()
            log.warning("signing keys not renewed", source=self._source, reason=error.message)


def parse_jwks(
    document: Any, algorithms: Sequence[str] = OWN_ALGORITHMS
) -> dict[str, VerificationKey]:
    """Key id → key, for the keys that may verify a token; UpstreamError if it is no key set.

    Symmetric keys, weak ones, and those for other uses or algorithms are left out. A key that
    names no algorithm verifies the first of `algorithms` that is for its kind.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise UpstreamError("What was sent is no JWK set.")
    found = [_key(jwk, algorithms) for jwk in keys[:_MAX_KEYS] if isinstance(jwk, dict)]
    return {key.kid: key for key in found if key is not None}


def _key(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> VerificationKey | None:
    kid, algorithm = jwk.get("kid"), _algorithm(jwk, algorithms)
    if not isinstance(kid, str) or algorithm is None or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    try:
        public = jwt.PyJWK({**jwk, "alg": algorithm}).key
    except (jwt.PyJWTError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        log.warning("unreadable signing key", kid=kid[:64], reason=str(error))
        return None
    if isinstance(public, RSAPublicKey):
        fits = public.key_size in _RSA_BITS and public.public_numbers().e < _MAX_EXPONENT
        return VerificationKey(kid, algorithm, public) if fits else None
    fits = isinstance(public, Ed25519PublicKey | EllipticCurvePublicKey)  # and no private one
    return VerificationKey(kid, algorithm, public) if fits else None


def _algorithm(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> str | None:
    kind, named = (jwk.get("kty"), jwk.get("crv")), jwk.get("alg")
    for algorithm in algorithms:
        if ASYMMETRIC[algorithm] == kind and named in (None, algorithm):
            return algorithm
    return None
