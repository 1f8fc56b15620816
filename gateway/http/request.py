"""A request inside the gateway, and the client that waits for its answer."""

from __future__ import annotations

import random
import re
from typing import Final
from uuid import UUID

from gateway.http.answer import Answer
from gateway.http.headers import Headers
from shared.wire import REQUEST_ID_HEADER, canonical_request_id

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")  # that routes may have
_TRACE_ID: Final = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-")  # in a traceparent
_VERSION_4: Final = 0x4 << 76
_VARIANT: Final = 0x2 << 62
_RANDOM: Final = ~((0xF << 76) | (0x3 << 62)) & ((1 << 128) - 1)


class Client:
    """Where a request came from and its answer goes: a connection, or an item of a batch."""

    keep_alive: bool
    secure: bool  # by TLS
    address: str  # of the peer: a client, or the proxy in front; '' if it has none

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        raise NotImplementedError

    @property
    def begun(self) -> bool:
        """Whether the head of the answer is sent."""
        raise NotImplementedError

    @property
    def body_done(self) -> bool:
        """Whether nothing of the request's body is left to be read."""
        raise NotImplementedError

    def limit_body(self, limit: int) -> None:
        raise NotImplementedError

    async def read_body(self, stall: float) -> bytes:
        """The next part of the body, b'' at its end. Waits at most `stall` seconds for it.

        Raises MalformedRequest, PayloadTooLarge, HeadersTooLarge (trailers) or RequestTimeout.
        """
        raise NotImplementedError

    def skip_body(self) -> None:
        """Drop a body that nobody will read; the connection ends if it isn't all there yet."""
        raise NotImplementedError

    def begin(self, answer: Answer) -> None:
        """Make `answer` the one to the request; its first part is sent with its head."""
        raise NotImplementedError

    def send_now(self, data: bytes, end: bool) -> bool:
        """Send a part of the answer that was begun; False if it has to wait: `send` it then.

        Raises ClientGone.
        """
        raise NotImplementedError

    async def send(self, data: bytes, end: bool) -> None:
        """Send a part of the answer, once the client has taken enough of the rest.

        Raises ClientGone.
        """
        raise NotImplementedError


class GatewayRequest:
    """One request. `client` None: it is over."""

    def __init__(
        self, method: str, target: bytes, version: str, headers: Headers, client: Client
    ) -> None:
        self.method = method
        self.target = target  # path and query in origin form, as the client wrote them; or b'*'
        self.version = version
        self.headers = headers
        self.client: Client | None = client
        self.organisation: UUID | None = None  # of the caller, once it is known
        self.trace_lines = ""  # the trace context that the service was sent, as header lines
        self.upstream = ""  # the instance whose answer is the client's
        self._id = ""

    @property
    def id(self) -> str:
        """The client's X-Request-Id if it is a UUID, else a new one; always the same."""
        if not self._id:
            given = self.headers.get(REQUEST_ID_HEADER)
            named = canonical_request_id(given) if given else None
            self._id = _new_id() if named is None else named
        return self._id

    @property
    def trace_id(self) -> str:
        """That of the trace which it is part of; '' if it is of none yet."""
        found = _TRACE_ID.search(self.trace_lines or self.headers.get("traceparent") or "")
        return "" if found is None else str(found[1])


def _new_id() -> str:
    # uuid4 asks the system for randomness, which an id that only has to differ doesn't need.
    number = random.getrandbits(128) & _RANDOM | _VERSION_4 | _VARIANT
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
