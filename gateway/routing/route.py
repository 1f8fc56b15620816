"""A public route of a service, as a value; route_file.py reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.limits.limit import Limit

DEFAULT_TIMEOUT_S: Final = 15.0
DEFAULT_BODY_LIMIT: Final = 1 << 20
MAX_TIMEOUT_S: Final = 3600.0
KEYED_METHODS: Final = frozenset({"POST", "PATCH"})  # the others can be sent again without a key
REQUIRED: Final = "required"
ENVELOPE: Final = "envelope"
OPENAI: Final = "openai"  # as OpenAI's clients read them


@dataclass(frozen=True, slots=True)
class Route:
    """A public route of a service. `path` is a template: '/api/v1/portrait/{user_id}'."""

    method: str
    path: str
    service: str
    scope: str
    timeout: float = DEFAULT_TIMEOUT_S  # seconds from the request sent to the answer's head
    body_limit: int = DEFAULT_BODY_LIMIT  # bytes
    stream: bool = False
    per_try: float | None = None  # seconds for one try of several; None: all of `timeout`
    hedge: float | None = None  # seconds after which a second instance is asked as well
    priority: str = "interactive"
    limits: tuple[Limit, ...] = ()  # beside those of the caller's role
    cache: float = 0.0  # seconds for which an answer is kept for its caller; 0: not at all
    # Honour Idempotency-Key; REQUIRED: insist on one. False: it goes to the service, as for streams.
    idempotent: bool | str = True
    failures: str = ENVELOPE  # how its failures are shown: ENVELOPE or OPENAI
    websocket: bool = False  # opened by a WebSocket handshake (GET); a stream, too

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path[1:].split("/"))

    @property
    def label(self) -> str:
        """Where it stands in its file."""
        return f"[{self.service}] {self.method} {self.path}"

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))

    @property
    def shape(self) -> str:
        """The path with its parameters' names left out: equal shapes match equal paths."""
        return re.sub(r"\{[^}]*\}", "{}", self.path)
