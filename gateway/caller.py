"""Who calls, and what is worked out for them once per credential instead of once per request."""

from __future__ import annotations

from typing import Final

from gateway.gcra import Bucket
from shared.security import InternalTokens, Principal

_MOST_ROUTES: Final = 8  # that a caller's buckets are kept for; they are found again
_MOST_SERVICES: Final = 8


class Caller:
    """A verified principal, as one credential speaks for it."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.role: str = principal.role
        self.anonymous = principal.kind == "anonymous"
        # By what revocations name it.
        self.mark = principal.subject if principal.kind == "key" else f"session:{principal.session}"
        self._allowed: set[str] = set()  # scopes that were asked for
        self._tokens: dict[str, tuple[float, str]] = {}
        self._buckets: dict[int, list[Bucket]] = {}

    def require(self, scope: str) -> None:
        """See Principal."""
        if scope not in self._allowed:
            self.principal.require(scope)
            self._allowed.add(scope)

    def token(self, tokens: InternalTokens, service: str, now: float) -> str:
        """An internal token for `service`; `now` in seconds since 1970."""
        known = self._tokens.get(service)
        if known is not None and now < known[0]:
            return known[1]
        if len(self._tokens) >= _MOST_SERVICES:
            self._tokens.clear()
        made = tokens.minted(self.principal, service)
        self._tokens[service] = made
        return made[1]

    def buckets(self, route: int) -> list[Bucket] | None:
        """Those that `keep` was given for the limits of this route; None if there are none."""
        return self._buckets.get(route)

    def keep(self, route: int, buckets: list[Bucket]) -> None:
        if len(self._buckets) >= _MOST_ROUTES:
            self._buckets.clear()
        self._buckets[route] = buckets
