"""A request that the gateway makes to itself: an item of a batch, on the path of all others.

Its connection is none: the body is at hand, and the answer is collected.
"""

from __future__ import annotations

from typing import Any, Final, cast

from sanic.compat import Header
from sanic.request import Request

from gateway.batch import ITEM_LIMIT, SubRequest
from gateway.http1_answer import Answer, Lines
from gateway.kept_answer import KeptAnswer

# Of the outer request: who calls and from where. What a batch item may set itself is its own.
_INHERITED: Final = (
    "host", "authorization", "x-api-key", "x-forwarded-for", "traceparent", "tracestate",
    "x-deadline-ms", "user-agent",
)  # fmt: skip


class InnerConnection:
    """What the edge asks of a client's connection, without a client."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._parts: list[bytes] = []
        self._size = 0
        self._answer: InnerAnswer | None = None
        self.begun = False
        self.keep_alive = True

    # The request's body.

    @property
    def body_done(self) -> bool:
        return not self._body

    def limit_body(self, limit: int) -> None:
        """The outer request's limit has been checked, and the body has its length."""

    async def read_body(self, _stall: float) -> bytes:
        data, self._body = self._body, b""
        return data

    def skip_body(self) -> None:
        self._body = b""

    # The answer.

    @property
    def is_gone(self) -> bool:
        return False  # a client that goes away cancels the whole batch

    def begin(self, answer: Answer) -> None:
        self._answer = InnerAnswer(answer)
        answer.sender = self

    async def send(self, data: bytes, end_stream: bool) -> None:
        del end_stream
        self.begun = True
        self._size += len(data)
        if self._size <= ITEM_LIMIT + 1:
            self._parts.append(data)
        elif sum(map(len, self._parts)) <= ITEM_LIMIT:
            self._parts.append(data[: ITEM_LIMIT + 1])

    def kept(self) -> KeptAnswer:
        assert self._answer is not None
        return KeptAnswer(self._answer.status, tuple(self._answer.lines), b"".join(self._parts))


class InnerAnswer:
    """Head of the collected answer."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.lines: Lines = answer.lines


class InnerRequest(Request):
    """`sub` as if the client of `outer` had sent it alone."""

    # As with ClientRequest: Sanic's constructor is for its own reader.
    def __init__(self, outer: Request, sub: SubRequest) -> None:
        inner = InnerConnection(sub.body or b"")
        headers = Header(
            (name, outer.headers[name]) for name in _INHERITED if name in outer.headers
        )
        for name, value in sub.headers:
            headers[name] = value
        headers["x-request-id"] = sub.request_id
        if sub.body is not None:
            headers["content-length"] = str(len(sub.body))
        self.method = sub.method
        self.raw_url = sub.target.encode("ascii")
        self.version = "1.1"
        self.headers = headers
        self.conn_info = outer.conn_info
        self.transport = outer.transport
        self.stream = cast("Any", inner)
        self._ctx = None
        self.inner = inner
