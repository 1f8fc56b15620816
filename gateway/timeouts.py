"""How long the gateway waits for whom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. How long an answer may take to begin is a matter of its route."""

    connect: float = 2.0  # to reach an instance
    idle: float = 60.0  # between two parts of an answer, and for a client to take one
    stream_idle: float = 3600.0  # the same on routes with `stream = true`
    head: float = 10.0  # for a request's head, from its first byte; the first one, from accepting
    keep_alive: float = 75.0  # for the next request
    stall: float = 60.0  # between two parts of a client's body
    grace: float = 5.0  # of waiting for a body, before it must come at
    rate: float = 500.0  # bytes per second, on the average
    registry: float = 2.0  # between two looks at the registry
    recheck: float = 5.0  # between two looks at who holds a WebSocket open
    linger: float = 2.0  # for the rest of a refused body, so that the refusal can be read
