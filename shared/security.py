"""Who is calling: principals, roles and scopes, internal tokens.

A client's token or API key is verified once, by the gateway. What a service sees is an
internal token: HS256 over the shared secret, audience = the service's name, 60 s of life.
Nothing else opens a service.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args
from uuid import UUID

import jwt
import orjson

from shared.errors import Forbidden, Unauthenticated
from shared.services import PROCESSES, Rank

Role = Literal["admin", "analyst", "agent", "service", "anonymous"]
Kind = Literal["user", "key", "service", "anonymous"]

PUBLIC: Final = "public"  # the scope of routes that need no sign-in
SELF: Final = "self"  # the scope of routes about the caller: any signed-in principal


def _scopes_of(role: Rank) -> frozenset[str]:
    """Those that the processes ask for of this role, or of one that may less."""
    ranks = get_args(Rank)
    held = ranks[: ranks.index(role) + 1]
    asked = (item for process in PROCESSES for item in process.scopes.items())
    return frozenset({SELF, *(scope for scope, least in asked if least in held)})


_AGENT: Final = _scopes_of("agent")
_ANALYST: Final = _scopes_of("analyst")
_ADMIN: Final = _scopes_of("admin")

ROLE_SCOPES: Final[dict[Role, frozenset[str]]] = {
    "admin": _ADMIN,
    "analyst": _ANALYST,
    "agent": _AGENT,
    "service": _ANALYST,
    "anonymous": frozenset(),
}
ALL_SCOPES: Final = _ADMIN | {PUBLIC}
USER_ROLES: Final = ("admin", "analyst", "agent", "service")

NO_ORG: Final = UUID(int=0)


def lesser_role(held: Role, bound: Role) -> Role:
    """`held` as far as `bound` reaches: the role for what both may do.

    Where no role may exactly that, the largest that may no more.
    """
    both = ROLE_SCOPES[held] & ROLE_SCOPES[bound]
    first = (held, bound, *ROLE_SCOPES)
    return max((r for r in first if ROLE_SCOPES[r] <= both), key=lambda r: len(ROLE_SCOPES[r]))


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified caller.

    `subject` is `user:<uuid>`, `external:<prefix>:<sub>` (signed in by the organisation's own
    identity provider), `key:<uuid>`, `service:<name>` or `anonymous`.
    """

    org_id: UUID
    subject: str
    role: Role
    kind: Kind
    session: str = ""  # refresh-token family of a signed-in user, so that logout finds it

    @property
    def scopes(self) -> frozenset[str]:
        return ROLE_SCOPES[self.role]

    def may(self, scope: str) -> bool:
        return scope == PUBLIC or scope in ROLE_SCOPES[self.role]

    def require(self, scope: str) -> None:
        """Raise Unauthenticated or Forbidden unless this principal has `scope`."""
        if self.may(scope):
            return
        if self.kind == "anonymous":
            raise Unauthenticated("Sign in first: send Authorization: Bearer <token> or X-API-Key.")
        raise Forbidden(f"Your role {self.role!r} lacks the scope {scope!r}. Ask an admin.")


ANONYMOUS: Final = Principal(NO_ORG, "anonymous", "anonymous", "anonymous")

_ISSUER: Final = "looma-internal"
_LIFE_S: Final = 60
_WINDOW_S: Final = 30
_LEEWAY_S: Final = 5


_JWS_HEADER: Final = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=") + b"."


class InternalTokens:
    """Mints and verifies internal tokens; both sides cache, bounded, by the whole token."""

    def __init__(
        self, secret: bytes, *, cache_size: int = 10_000, clock: Callable[[], float] = time.time
    ) -> None:
        # A key of its own: the shared secret is never used for two purposes.
        self._key = hashlib.sha256(b"looma internal token\0" + secret).digest()
        self._size = cache_size
        self._clock = clock
        self._minted: OrderedDict[tuple[Principal, str], tuple[float, str]] = OrderedDict()
        self._verified: OrderedDict[tuple[bytes, str], tuple[float, Principal]] = OrderedDict()

    def mint(self, principal: Principal, audience: str) -> str:
        """A token for `principal` that the service `audience` accepts for at least 30 s more."""
        known = self._minted.get((principal, audience))
        if known is None or self._clock() >= known[0]:
            known = self.fresh(principal, audience)
            _remember(self._minted, (principal, audience), known, self._size)
        return known[1]

    def fresh(self, principal: Principal, audience: str) -> tuple[float, str]:
        """(until when to use it, in seconds since 1970, a new token): for who keeps it for 30 s."""
        now = self._clock()
        claims = {
            "iss": _ISSUER,
            "aud": audience,
            "iat": int(now),
            "exp": int(now) + _LIFE_S,
            "org": str(principal.org_id),
            "sub": principal.subject,
            "role": principal.role,
            "kind": principal.kind,
            "sid": principal.session,
        }
        return now + _WINDOW_S, self._signed(claims)

    def _signed(self, claims: dict[str, Any]) -> str:
        """HS256 (RFC 7515); PyJWT, which reads it, would take three times as long to write it."""
        payload = base64.urlsafe_b64encode(orjson.dumps(claims)).rstrip(b"=")
        signed = _JWS_HEADER + payload
        signature = base64.urlsafe_b64encode(hmac.digest(self._key, signed, "sha256")).rstrip(b"=")
        return (signed + b"." + signature).decode("ascii")

    def verify(self, token: str, audience: str) -> Principal:
        """The principal of a valid token; Unauthenticated for anything else."""
        now = self._clock()
        # surrogateescape: a header may carry any byte, and must fail as a bad token, not crash.
        fingerprint = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._verified.get((fingerprint, audience))
        if known is not None and now < known[0]:
            return known[1]
        claims = self._decode(token, audience, now)
        principal = _principal(claims)
        _remember(self._verified, (fingerprint, audience), (claims["exp"], principal), self._size)
        return principal

    def _decode(self, token: str, audience: str, now: float) -> dict[str, Any]:
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                audience=audience,
                issuer=_ISSUER,
                options={"require": ["exp", "iat", "aud", "iss", "sub"], "verify_exp": False,
                         "verify_iat": False},
            )  # fmt: skip
        except (jwt.PyJWTError, UnicodeError) as error:
            raise Unauthenticated(
                "This service answers the gateway only; call it through the gateway."
            ) from error
        # Checked here, against the injected clock, rather than by PyJWT against the wall clock.
        if not now < claims["exp"] or claims["iat"] > now + _LEEWAY_S:
            raise Unauthenticated("The internal token has expired or is from the future.")
        return claims


def _principal(claims: dict[str, Any]) -> Principal:
    try:
        if claims["role"] not in ROLE_SCOPES or claims["kind"] not in (
            "user",
            "key",
            "service",
            "anonymous",
        ):
            raise ValueError("unknown role or kind")
        return Principal(
            UUID(claims["org"]), claims["sub"], claims["role"], claims["kind"], claims["sid"]
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Unauthenticated("The internal token names no principal.") from error


def _remember(cache: OrderedDict[Any, Any], key: object, value: object, size: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > size:
        cache.popitem(last=False)
