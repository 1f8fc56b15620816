"""A text in another encoding as the UTF-8 that its lines and brackets are looked for in."""

from __future__ import annotations

import codecs
from typing import Final, Protocol

_REPLACED: Final = "\ufffd".encode()
_NO_UTF8: Final = b"\xff"


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
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
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
            out = self._decoder.decode(data, final=self._ended).encode()
            if out:
                return out.replace(_REPLACED, _NO_UTF8)
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
