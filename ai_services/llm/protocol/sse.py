"""Server-sent events (WHATWG HTML §9.2): read as they come, and written.

Reading is strict where a lenient reader would lose something: broken UTF-8 and lines or events
beyond all bounds end it with UpstreamError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.errors import UpstreamError

_LONGEST: Final = 4 << 20  # bytes of a line, characters of an event: a chunk with an image in it
_BOM: Final = b"\xef\xbb\xbf"
_ENDS: Final = (b"\n", b"\r")
_DONE: Final = "[DONE]"
DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `data`, its lines joined by line ends, and its type."""

    data: str
    type: str = "message"

    @property
    def is_done(self) -> bool:
        """Whether it is the mark with which streams of the OpenAI protocol end."""
        return self.data.strip() == _DONE


class EventReader:
    """Gives the same events however the bytes are cut."""

    def __init__(self, longest: int = _LONGEST) -> None:
        self._longest = longest
        self._line = bytearray()  # without its end yet
        self._data: list[str] = []
        self._length = 0
        self._type = ""
        self._after_cr = False
        self._is_first = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in these bytes."""
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
            if not chunk:
                return []
        self._after_cr = chunk.endswith(b"\r")
        found = []
        for line in chunk.splitlines(keepends=True):
            self._line += line
            if len(self._line) > self._longest:
                raise UpstreamError(f"A line of the stream has more than {self._longest} bytes.")
            if line.endswith(_ENDS):
                event = self._take(self._whole_line())
                if event is not None:
                    found.append(event)
        return found

    def end(self) -> list[Event]:
        """The event that was under way when the stream ended: its last line end may be missing."""
        rest = [self._take(self._whole_line()) if self._line else None, self._dispatch()]
        return [event for event in rest if event is not None]

    def _whole_line(self) -> str:
        raw = bytes(self._line).rstrip(b"\r\n")
        self._line.clear()
        if self._is_first:
            raw = raw.removeprefix(_BOM)
            self._is_first = False
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise UpstreamError("The stream holds bytes that are no UTF-8.") from error

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._length += len(value) + 1
            if self._length > self._longest:
                raise UpstreamError(
                    f"An event of the stream has more than {self._longest} characters."
                )
            self._data.append(value)
        elif name == "event":
            self._type = value
        return None

    def _dispatch(self) -> Event | None:
        data, kind = self._data, self._type
        self._data, self._type, self._length = [], "", 0
        return Event("\n".join(data), kind or "message") if data else None


def written(data: str | bytes, event: str = "") -> bytes:
    """One event; line ends in its data make several lines."""
    raw = data.encode() if isinstance(data, str) else data
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
