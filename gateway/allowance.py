"""What a client is told about its rate limit.

`RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-11 (2026-05).
`RateLimit-Limit`, `-Remaining` and `-Reset` come from its sixth version; most clients know these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """The tightest of a request's limits after that request.

    `reset` is the number of seconds until all of it is there again; of a refused request it is
    `retry_after`, as Retry-After must not come before it.
    """

    name: str
    policy: bytes  # RateLimit-Policy of all limits of the route
    limit: int
    remaining: int
    reset: float
    retry_after: float | None = None  # None: allowed

    @property
    def allowed(self) -> bool:
        return self.retry_after is None

    def lines(self) -> list[tuple[bytes, bytes]]:
        """The headers for an answer."""
        reset = math.ceil(self.reset)
        return [
            (b"ratelimit-policy", self.policy),
            (b"ratelimit", b'"%b";r=%d;t=%d' % (self.name.encode(), self.remaining, reset)),
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % reset),
        ]

    def headers(self) -> dict[str, str]:
        return {name.decode().title(): value.decode() for name, value in self.lines()}
