"""An item of a batch as a request, which takes the path of all others.

It has no connection: the body is at hand, and the answer is collected.
"""

from __future__ import annotations

from typing import Final

from gateway.http.answer import Answer
from gateway.http.headers import Headers
from gateway.http.request import Client, GatewayRequest
from gateway.http.stored_answer import StoredAnswer
from gateway.own_api.batch import ITEM_LIMIT
from gateway.own_api.batch_items import SubRequest
from shared.wire import DEADLINE_HEADER, REQUEST_ID_HEADER

# Of the outer request: who calls and from where. What a batch item may set itself is its own.
_INHERITED: Final = (
    "host", "authorization", "x-api-key", "x-forwarded-for", "x-forwarded-proto", DEADLINE_HEADER,
    "user-agent",
)  # fmt: skip


class InnerClient(Client):
    """The client of a batch's item: gives its body, collects its answer. `outer` sent the batch."""

    def __init__(self, body: bytes, outer: Client) -> None:
        self.keep_alive = True
        self.secure = outer.secure
        self.address = outer.address
        self._body = body
        self._parts: list[bytes] = []
        self._size = 0
        self._answer: Answer | None = None
        self._begun = False

    # The request's body.

    @property
    def body_done(self) -> bool:
        return not self._body

    def limit_body(self, limit: int) -> None:
        """The outer request's limit has been checked, and the body has its length."""

    async def read_body(self, stall: float) -> bytes:  # noqa: ARG002 - it is all there
        data, self._body = self._body, b""
        return data

    def skip_body(self) -> None:
        self._body = b""

    # The answer.

    @property
    def is_gone(self) -> bool:
        return False  # a client that goes away cancels the whole batch

    def begin(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def begun(self) -> bool:
        return self._begun

    def send_now(self, data: bytes, end: bool) -> bool:
        del end
        self._begun = True
        self._size += len(data)
        if self._size <= ITEM_LIMIT + 1:
            self._parts.append(data)
        elif sum(map(len, self._parts)) <= ITEM_LIMIT:
            self._parts.append(data[: ITEM_LIMIT + 1])
        return True

    async def send(self, data: bytes, end: bool) -> None:
        self.send_now(data, end)

    def kept(self) -> StoredAnswer:
        assert self._answer is not None
        answer = self._answer
        return StoredAnswer(answer.status, tuple(answer.headers()), b"".join(self._parts))


def inner_request(
    outer: GatewayRequest, sub: SubRequest, trace_lines: str
) -> tuple[GatewayRequest, InnerClient]:
    """The request for item `sub` of the batch `outer`, and the client that collects its answer.

    `trace_lines` are the header lines that make it part of the batch's trace.
    """
    assert outer.client is not None
    client = InnerClient(sub.body or b"", outer.client)
    own = {**dict(sub.headers), REQUEST_ID_HEADER: sub.request_id}
    if sub.body is not None:
        own["content-length"] = str(len(sub.body))
    # All lines of a header: the first X-Forwarded-For alone may be the client's own word.
    inherited = [
        (name, value)
        for name, value in outer.headers.items()
        if name in _INHERITED and name not in own
    ]
    traced = [line.partition(": ") for line in trace_lines.split("\r\n") if line]
    inherited += [(name, value) for name, _, value in traced]
    headers = Headers.of([*inherited, *own.items()])
    request = GatewayRequest(sub.method, sub.target.encode("ascii"), "1.1", headers, client)
    return request, client
