"""A text in another encoding as the UTF-8 that its lines and brackets are looked for in."""

from __future__ import annotations

import codecs
from typing import Final, Protocol

# The name of how Python's codecs are to go on after bytes that are no text: half a character stands for
# them, which no text has, and becomes a byte that is no UTF-8. U+FFFD is a character like any other.
MARKED: Final = "looma.marked"
_HALF: Final = "\udcff"
_NO_UTF8: Final = b"\xff"


def _mark(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return _HALF, error.end
    if isinstance(error, UnicodeEncodeError):
        return _NO_UTF8 * (error.end - error.start), error.end
    raise error


codecs.register_error(MARKED, _mark)


class Bytes(Protocol):
    """A file's bytes, chunk by chunk; b"" at the end. `position` counts those of the file itself."""

    @property
    def position(self) -> int: ...
    @property
    def damaged(self) -> bool: ...
    def read(self) -> bytes: ...


class Recoded:
    """What is no text in `encoding` becomes a byte that is no UTF-8, so that its row is refused."""

    def __init__(self, stream: Bytes, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(MARKED)
        self._ended = False

    @property
    def position(self) -> int:
        return self._stream.position

    @property
    def damaged(self) -> bool:
        return self._stream.damaged

    def read(self) -> bytes:
        while not self._ended:
            data = self._stream.read()
            self._ended = not data
            if text := self._decoder.decode(data, final=self._ended):
                return text.encode(errors=MARKED)
        return b""


class Unmarked:
    """Without the byte order mark that it may begin with, or its first `skip` bytes."""

    def __init__(self, stream: Bytes, skip: int = 0) -> None:
        self._stream = stream
        self._skip = skip
        self._begun = False

    @property
    def position(self) -> int:
        return self._stream.position

    @property
    def damaged(self) -> bool:
        return self._stream.damaged

    def read(self) -> bytes:
        while data := self._stream.read():
            if not self._begun:
                self._begun = True
                data = data.removeprefix(codecs.BOM_UTF8)
            passed = min(self._skip, len(data))
            self._skip -= passed
            if data := data[passed:]:
                return data
        return b""
