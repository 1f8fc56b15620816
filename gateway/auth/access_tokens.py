"""Verification of access tokens (JWT): signature, audience, times; anything else is 401.

The algorithm is the key's, never the token's. `kid` only picks a key from those we hold. Header
parameters that point at other keys mean nothing here, and `crit` is refused (RFC 8725).
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import jwt
import orjson

from gateway.auth.jwks import SigningKeys, VerificationKey
from shared.errors import Unauthenticated
from shared.security import USER_ROLES, Principal

LEEWAY_S: Final = 30
MAX_TOKEN: Final = 4096
HEADER: Final = 0
CLAIMS: Final = 1
_PARTS: Final = 3
_MAX_KID: Final = 256
_REQUIRED: Final = ("exp", "iss", "aud", "nbf", "sub")


@dataclass(frozen=True, slots=True)
class Verified:
    """A verified credential: whom it speaks for, and until when (seconds since 1970).

    `heard` says which notices were known when it was asked for (see Revocations).
    """

    principal: Principal
    expires_at: float
    heard: int = 0


class AccessTokens:
    """Verifies tokens of one issuer for one audience.

    `principal` tells from verified claims whom a token speaks for, or raises Unauthenticated.
    `begins` is the claim that tells since when a token is valid.
    """

    def __init__(
        self,
        keys: SigningKeys,
        *,
        issuer: str,
        audience: str,
        principal: Callable[[Mapping[str, Any]], Principal] | None = None,
        begins: str = "nbf",
        longest: float = float("inf"),
        max_length: int = MAX_TOKEN,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._principal = principal or own_principal
        self._required = [begins if name == "nbf" else name for name in _REQUIRED]
        self._begins = begins
        self._longest = longest  # seconds that a token may still have to live
        self._max_length = max_length
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def verify(self, token: str) -> Verified:
        """Unauthenticated if the token is bad; UpstreamUnavailable if no key can be had to tell."""
        if len(token) > self._max_length:
            raise refused("is too long")
        header = _header(token)
        key = await self._keys.find(header["kid"])
        if key is None or header["alg"] != key.algorithm:
            raise refused("is signed by a key that is not the issuer's")
        claims = self._claims(token, key)
        now = self._clock()
        if not now < claims["exp"] + LEEWAY_S:
            raise refused("has expired")
        if claims["exp"] > now + self._longest + LEEWAY_S:
            raise refused("lives longer than is accepted here")
        if any(claims[name] > now + LEEWAY_S for name in self._starts(claims)):
            raise refused("is not valid yet")
        return Verified(self._principal(claims), float(claims["exp"]))

    def _starts(self, claims: Mapping[str, Any]) -> set[str]:
        return {self._begins, "nbf"} & claims.keys()

    def _claims(self, token: str, key: VerificationKey) -> dict[str, Any]:
        try:
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                options={
                    "require": self._required,
                    # Compared above with the injected clock.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, RecursionError, ValueError) as error:
            raise refused("is not valid here") from error
        if not all(_is_time(claims[name]) for name in ("exp", *self._starts(claims))):
            raise refused("names no times")
        return claims


def unverified(token: str, part: int) -> Any:
    """Part HEADER or CLAIMS of a token, decoded, not verified; Unauthenticated if it is none."""
    parts = token.split(".")
    if len(parts) != _PARTS or "=" in token:  # padding would give one token many spellings
        raise refused("is not a JSON Web Token")
    encoded = parts[part]
    try:
        return orjson.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError):
        raise refused("is not a JSON Web Token") from None


def _header(token: str) -> Mapping[str, str]:
    """The checked header: `alg` and `kid` are strings, `crit` is absent."""
    header = unverified(token, HEADER)
    if not isinstance(header, dict) or "crit" in header:
        raise refused("has a header that is not understood here")
    kid, algorithm = header.get("kid"), header.get("alg")
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID or not isinstance(algorithm, str):
        raise refused("names no key")
    return {"kid": kid, "alg": algorithm}


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11


def own_principal(claims: Mapping[str, Any]) -> Principal:
    """The principal of a token of the auth service; Unauthenticated if its claims name none."""
    try:
        role, session, subject = claims["role"], claims.get("sid", ""), claims["sub"]
        if role not in USER_ROLES or not isinstance(session, str):
            raise ValueError("unknown role or session")
        if not subject.startswith("user:"):
            raise ValueError("not a user")
        UUID(subject.removeprefix("user:"))
        return Principal(UUID(claims["org"]), subject, role, "user", session)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise refused("names nobody") from error


def refused(problem: str) -> Unauthenticated:
    """The 401 for a token; `problem` completes "The access token …"."""
    return Unauthenticated(f"The access token {problem}. Sign in again.")
