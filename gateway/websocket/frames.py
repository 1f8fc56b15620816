"""Frame boundaries of a WebSocket (RFC 6455 §5.2); payloads are not read.

A library such as wsproto reads messages, and would have to be fed every byte of them.
"""

from __future__ import annotations

from typing import Final

GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008
_CLOSE: Final = 0x8
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_LONGER: Final = {126: 2, 127: 8}  # bytes of a length that doesn't fit into seven bits


class Boundaries:
    """The boundaries in one direction. `between`: a frame may be put in after all that was fed."""

    __slots__ = ("_closed", "_head", "_left")

    def __init__(self) -> None:
        self._head = b""  # of a frame, as far as it has come
        self._left = 0  # bytes of a frame's payload
        self._closed = False  # a Close frame has begun: none may follow it

    @property
    def between(self) -> bool:
        return not self._left and not self._head and not self._closed

    def feed(self, data: bytes) -> int:
        """Take what comes next; where in it the last whole frame ends, -1 if none does."""
        at, end, size = 0, -1, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
            else:
                part = data[at : at + _size(self._head) - len(self._head)]
                at += len(part)
                self._head += part
                if len(self._head) < _size(self._head):
                    continue
                self._begin(self._head)
                self._head = b""
            if not self._left:
                end = at
        return end

    def _begin(self, head: bytes) -> None:
        length = head[1] & 0x7F
        more = _LONGER.get(length)
        self._left = length if more is None else int.from_bytes(head[2 : 2 + more])
        if head[0] & 0xF == _CLOSE:
            self._closed = True


def close_frame(code: int) -> bytes:
    """A Close frame as a server sends it: not masked."""
    return bytes((_FINAL | _CLOSE, 2)) + code.to_bytes(2)


def _size(head: bytes) -> int:
    """Bytes of a frame's header, by as much of it as has come."""
    if len(head) < 2:
        return 2
    return 2 + _LONGER.get(head[1] & 0x7F, 0) + (4 if head[1] & _MASKED else 0)
