"""The caller of requests, with what follows from its credential: worked out once, not per request.

Most callers ask one service under one set of limits. What they need for that is at hand in the
caller itself: with 100,000 of them, each dictionary on the way costs misses of the processor's.
"""

from __future__ import annotations

from typing import Any, Final

from shared.security import InternalTokens, Principal

_MOST: Final = 8  # services, and sets of limits, that something is kept for; it is found again
# What the limits keep with a caller is theirs: here it is stored and handed back, never looked into.
Buckets = list[Any]
_NO_BUCKETS: Final[Buckets] = []


class Caller:
    """A verified principal behind one credential; it keeps its internal tokens and buckets."""

    def __init__(self, principal: Principal, heard: int = 0) -> None:
        self.principal = principal
        self.heard = heard  # which notices of revocations were known when it was verified
        self.role: str = principal.role
        self.anonymous = principal.kind == "anonymous"
        # By what revocations name it.
        self.mark = principal.subject if principal.kind == "key" else f"session:{principal.session}"
        self._scopes = principal.scopes
        self._service = ""  # that was asked last, with its token
        self._token = ""
        self._token_until = 0.0
        self._tokens: dict[str, tuple[float, str]] | None = None  # of the other services
        self._limits = -1  # that were kept last, with their buckets
        self._buckets = _NO_BUCKETS
        self._all_buckets: dict[int, Buckets] | None = None  # of the other limits

    def require(self, scope: str) -> None:
        """Forbidden without the scope, Unauthenticated if nobody is signed in."""
        if scope not in self._scopes:
            self.principal.require(scope)

    def token(self, tokens: InternalTokens, service: str, now: float) -> str:
        """An internal token for `service`, minted anew every 30 s; `now` in seconds since 1970."""
        if service == self._service and now < self._token_until:
            return self._token
        others = self._tokens
        if service != self._service and self._service:
            if others is None:
                others = self._tokens = {}
            elif len(others) >= _MOST:
                others.clear()
            others[self._service] = (self._token_until, self._token)
        made = None if others is None else others.pop(service, None)
        if made is None or now >= made[0]:
            made = tokens.fresh(self.principal, service)
        self._service = service
        self._token_until, self._token = made
        return self._token

    def buckets(self, limits: int) -> Buckets | None:
        """The buckets that were kept for the limits of this number, if any."""
        if limits == self._limits:
            return self._buckets
        return None if self._all_buckets is None else self._all_buckets.get(limits)

    def keep(self, limits: int, buckets: Buckets) -> None:
        if self._limits not in (-1, limits):
            others = self._all_buckets
            if others is None:
                others = self._all_buckets = {}
            elif len(others) >= _MOST:
                others.clear()
            others[self._limits] = self._buckets
            others.pop(limits, None)
        self._limits, self._buckets = limits, buckets
