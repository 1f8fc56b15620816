"""The rate limit headers of answers.

`RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-11 (2026-05).
`RateLimit-Limit`, `-Remaining` and `-Reset` come from its sixth version; most clients know these.
"""

from __future__ import annotations

import math


class Allowance:
    """What is left of the tightest of a request's limits, after that request.

    `reset` is the number of seconds until all of it is there again; of a refused request it is
    `retry_after`, as Retry-After must not come before it.
    """

    def __init__(
        self,
        name: str,
        policy: bytes,
        limit: int,
        remaining: int,
        reset: float,
        retry_after: float | None = None,
    ) -> None:
        self.name = name
        self.policy = policy  # RateLimit-Policy of all limits of the route
        self.limit = limit
        self.remaining = remaining
        self.reset = reset
        self.retry_after = retry_after  # None: allowed

    def block(self) -> bytes:
        """The header lines of an answer, as they go out."""
        left, limit, reset = self.remaining, self.limit, math.ceil(self.reset)
        return (
            b'ratelimit-policy: %b\r\nratelimit: "%b";r=%d;t=%d\r\nratelimit-limit: %d\r\n'
            b"ratelimit-remaining: %d\r\nratelimit-reset: %d\r\n"
            % (self.policy, self.name.encode(), left, reset, limit, left, reset)
        )

    def headers(self) -> dict[str, str]:
        """The same by name, for an error's answer."""
        lines = self.block().decode().split("\r\n")[:-1]
        return {name.title(): value for name, _, value in (line.partition(": ") for line in lines)}
