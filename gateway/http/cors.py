"""CORS (WHATWG Fetch, §3.2): which pages of other origins may read answers.

Origins are compared as a whole; `*` allows every one. Credentials are never allowed, as none are
taken from cookies: a page sends its token itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gateway.http.request import METHODS

Lines = list[tuple[bytes, bytes]]
_SHOWN: Final = (
    b"X-Request-Id, ETag, Retry-After, Idempotent-Replayed, RateLimit, RateLimit-Policy, "
    b"RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)
_TAKEN: Final = (
    b"Authorization, X-API-Key, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id, "
    b"X-Deadline-Ms, Traceparent"
)
_KEPT_S: Final = b"600"


class Cors:
    """`lines` for the answer to a request of an origin; none for an origin that is not allowed."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)
        self._any = "*" in self._origins

    @property
    def enabled(self) -> bool:
        return bool(self._origins)

    def allows(self, origin: str) -> bool:
        return self._any or origin in self._origins

    def lines(self, origin: str) -> Lines:
        if not self.allows(origin):
            return [(b"vary", b"origin")]
        return [*self._origin(origin), (b"access-control-expose-headers", _SHOWN)]

    def preflight(self, origin: str) -> Lines:
        """The answer to OPTIONS with Access-Control-Request-Method, sent with 204."""
        if not self.allows(origin):
            return [(b"vary", b"origin")]
        return [
            *self._origin(origin),
            (b"access-control-allow-methods", ", ".join(METHODS).encode()),
            (b"access-control-allow-headers", _TAKEN),
            (b"access-control-max-age", _KEPT_S),
        ]

    def _origin(self, origin: str) -> Lines:
        if self._any:
            return [(b"access-control-allow-origin", b"*")]
        return [
            (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
            (b"vary", b"origin"),
        ]
