"""The framing of an answer in HTTP/1.1: head and body as bytes, apart from any socket."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from shared.errors import InternalError

Lines = Sequence[tuple[bytes, bytes]]
_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}
_WITHOUT_BODY: Final = frozenset({204, 304})
_CLOSE: Final = b"connection: close\r\n\r\n"
_KEEP: Final = b"connection: keep-alive\r\n\r\n"


class Answer:
    """An answer whose headers are sent as they are given; `length` None means chunks.

    `lines` and `block` must not frame the body; that is done here.
    """

    def __init__(
        self, status: int, lines: Lines, length: int | None = None, block: bytes = b""
    ) -> None:
        self.status = status
        self.length = length
        self.begun = False
        self.ended = False
        self.lines = lines
        self.block = block  # more header lines, as they go out
        self._chunked = False
        self._left: int | None = None  # of the announced length; None: no body goes out

    def headers(self) -> Lines:
        """All header lines, one by one."""
        more = [line.partition(b": ") for line in self.block.split(b"\r\n")[:-1]]
        return [*self.lines, *((name, value) for name, _, value in more)]

    def beginning(
        self, data: bytes, end: bool, *, keep_alive: bool, persistent: bool, head_only: bool
    ) -> bytes:
        """The head and the first part. `persistent` is HTTP/1.1, which keeps connections unasked."""
        self.begun = True
        head = [_STATUS_LINES.get(self.status) or b"HTTP/1.1 %d \r\n" % self.status]
        for name, value in self.lines:
            head += (name, b": ", value, b"\r\n")
        head.append(self.block)
        if self.status not in _WITHOUT_BODY:
            length = self.length
            if length is None and end and not head_only:  # an end to HEAD is no end of a body
                length = len(data)
            if length is None:
                self._chunked = not head_only
                head.append(b"transfer-encoding: chunked\r\n")
            else:
                self._left = None if head_only else length
                head.append(b"content-length: %d\r\n" % length)
        if not keep_alive:
            head.append(_CLOSE)
        else:
            head.append(b"\r\n" if persistent else _KEEP)
        head.append(self.part(data, end))
        return b"".join(head)

    def part(self, data: bytes, end: bool) -> bytes:
        """A part of the body as it is framed. InternalError if it isn't as long as announced."""
        if self.ended:
            raise InternalError("An answer goes on after its end.")
        self.ended = end
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            return chunk + b"0\r\n\r\n" if end else chunk
        if self._left is None:
            return b""
        self._left -= len(data)
        if self._left < 0 or (end and self._left):
            raise InternalError("An answer is not as long as announced.")
        return data
