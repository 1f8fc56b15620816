"""Path normalisation: one spelling per path, so that what is authorised is what is forwarded.

RFC 3986 §6.2.2: percent-encodings of unreserved characters are decoded, the others are written
in capitals, dot segments are removed. What two servers could read differently is refused:
encoded slashes, backslashes and control characters, dots that climb out of the root, bytes that
are no UTF-8, characters that no URL may contain.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from shared.errors import Detail, MalformedRequest, NotFound

_ALREADY_NORMAL: Final = re.compile(
    rb"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)+"
)
_ALLOWED: Final = re.compile(rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_ENCODED: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_REFUSED: Final = frozenset([*range(32), 127, ord("/"), ord("\\")])


def split_target(target: bytes) -> tuple[bytes, str]:
    """Path and query (with its '?', or '') of a request target in origin form."""
    if target == b"*":
        raise NotFound("OPTIONS is answered for single paths only. GET /openapi.json lists them.")
    path, mark, query = target.partition(b"?")
    return path, (mark + query).decode("ascii")


def normalise(path: bytes) -> str:
    """The one spelling of `path` (no query); MalformedRequest (400) if it has none."""
    if _ALREADY_NORMAL.fullmatch(path):
        return path.decode("ascii")
    if not _ALLOWED.fullmatch(path):
        raise _refused("holds characters that a URL path may not", "percent-encode them")
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("is not UTF-8 once decoded", "percent-encode UTF-8") from None
    return "/".join(_without_dots(_ENCODED.sub(_one_spelling, path).decode("ascii").split("/")))


def _one_spelling(match: re.Match[bytes]) -> bytes:
    byte = int(match.group()[1:], 16)
    if byte in _REFUSED:
        raise _refused(
            f"holds {match.group().decode()}", "leave out encoded slashes and control characters"
        )
    return bytes([byte]) if byte in _UNRESERVED else match.group().upper()


def _without_dots(segments: list[str]) -> list[str]:
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            if len(kept) <= 1:
                raise _refused("climbs above the root", "remove the '..'")
            kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")  # `/a/b/..` is `/a/`
    return kept


def _refused(problem: str, fix: str) -> MalformedRequest:
    return MalformedRequest(f"The path {problem}; {fix}.", details=[Detail("path", problem, fix)])
