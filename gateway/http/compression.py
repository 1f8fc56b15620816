"""gzip for clients that accept it: RFC 9110 §8.4 and §12.5.3.

Only texts of at least 1 KiB, never what is encoded already, server-sent events, or what a service
marks `no-transform`. Parts above 64 KiB are compressed in a thread, so that the event loop does
not wait for one body (zlib gives the interpreter away meanwhile).
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

MIN_LENGTH: Final = 1024
_THREAD_LENGTH: Final = 64 * 1024
_LEVEL: Final = 3  # of JSON: 10% larger than level 6, in less than half the time
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_TYPE: Final = re.compile(
    r"(?:text/(?!event-stream)[^;,\s]+"
    r"|application/(?:json|x-ndjson|ndjson|xml|javascript|yaml|graphql|[^;,\s]+\+(?:json|xml|yaml))"
    r"|image/svg\+xml)(?:\s*;.*)?",
    re.IGNORECASE,
)
_CODING: Final = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+|\*)\s*(?:;\s*[qQ]\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?"
)
_HINDRANCES: Final = frozenset(
    {b"content-encoding", b"content-range", b"content-digest", b"digest", b"content-md5"}
)
_VARY: Final = b"accept-encoding"

Lines = Sequence[tuple[bytes, bytes]]


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client with this header ('' without one) would rather have gzip than plain text."""
    return bool(accept_encoding) and len(accept_encoding) <= 512 and _preferred(accept_encoding)


@lru_cache(maxsize=512)
def _preferred(accept_encoding: str) -> bool:
    weights: dict[str, float] = {}
    for part in accept_encoding.split(","):
        match = _CODING.fullmatch(part)
        if match is not None:
            weights[match[1].lower()] = float(match[2] or 1)
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    # Plain text is always acceptable unless refused; named with a weight it competes.
    plain = weights.get("identity", 0.0)
    return gzip > 0 and gzip >= plain


def negotiate(
    status: int, lines: Lines, length: int | None, accept_encoding: str
) -> tuple[Lines, bool]:
    """(the headers to send, whether to compress).

    `lines` in lower case; `length` of the body, None if it isn't known. An answer that another
    client would get compressed says so in Vary. An ETag becomes a weak one: the bytes differ.
    """
    if status == 304:
        return _varying(lines), False
    if not _compressible(status, lines, length):
        return lines, False
    lines = _varying(lines)
    if not accepts_gzip(accept_encoding):
        return lines, False
    kept = [
        (name, b"W/" + value if name == b"etag" and not value.startswith(b"W/") else value)
        for name, value in lines
        if name not in (b"content-length", b"accept-ranges")
    ]
    return [*kept, (b"content-encoding", b"gzip")], True


class Gzip:
    """One body, part by part.

    `flushing`: every part leaves at once, as streams need it, at some cost in size. Otherwise
    `feed` keeps what is too little to be compressed well, and returns b'' then.
    """

    def __init__(self, *, flushing: bool) -> None:
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self._flush_mode = zlib.Z_SYNC_FLUSH if flushing else zlib.Z_NO_FLUSH

    async def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What to send for the next part of the body; the last part (it may be b'') ends it."""
        if len(data) > _THREAD_LENGTH:
            return await asyncio.to_thread(self._feed, data, last)
        return self._feed(data, last)

    def _feed(self, data: bytes, last: bool) -> bytes:
        made = self._compressor.compress(data)
        if last:
            return made + self._compressor.flush(zlib.Z_FINISH)
        if data and self._flush_mode != zlib.Z_NO_FLUSH:
            made += self._compressor.flush(self._flush_mode)
        return made


def _compressible(status: int, lines: Lines, length: int | None) -> bool:
    if status < 200 or status in (204, 206) or (length is not None and length < MIN_LENGTH):
        return False
    kind = b""
    for name, value in lines:
        if name == b"content-type":
            kind = value
        elif name in _HINDRANCES or (name == b"cache-control" and b"no-transform" in value.lower()):
            return False
    return _TYPE.fullmatch(kind.decode("latin-1")) is not None


def _varying(lines: Lines) -> Lines:
    for name, value in lines:
        if name == b"vary" and (_VARY in value.lower() or value.strip() == b"*"):
            return lines
    return [*lines, (b"vary", _VARY)]
