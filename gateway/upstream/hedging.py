"""When a second instance is asked although the first may still answer: for the slowest few only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """As data of a route. A hedge is a retry that doesn't wait for a failure: it needs a token of

    the same budget and an instance that was not tried.
    """

    delay_s: float  # without an answer's head, since the last try began; about the route's p95
    most: int = 1  # hedges of one request; 0: none

    def wait(self, method: str, *, has_body: bool, hedges: int) -> float | None:
        """Seconds to wait for an answer before the next hedge; None: no further one.

        Only a GET without a body is asked twice at once: an idempotent write may cost twice.
        """
        if method != "GET" or has_body or hedges >= self.most:
            return None
        return self.delay_s
