"""What a body may call itself: JSON in UTF-8, or a file of the kinds that a route takes, as it is.

Anything else is 415 and says what is taken.

Nothing is expanded: a compressed body is refused before it is looked at, so that its size is always
what it seems.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from shared.errors import Detail, UnsupportedMediaType

_TYPE: Final = re.compile(
    r"[ \t]*(?:application|text)/(?:[!#$&^_.+a-z0-9-]+\+)?json[ \t]*", re.IGNORECASE
)
_CHARSET: Final = re.compile(r'[ \t]*charset[ \t]*=[ \t]*"?([^"; \t]*)"?[ \t]*', re.IGNORECASE)
_USUAL: Final = ("application/json",)
_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_MARKS: Final = (  # what a body in another encoding begins with
    (re.compile(rb"\xff\xfe|\xfe\xff|\0|[\t\n\r -~]\0"), "UTF-16 or UTF-32"),
    (re.compile(rb"\x1f\x8b"), "gzip"),
)


def require_json(types: Sequence[str], codings: Sequence[str]) -> None:
    """By all values of Content-Type (none: JSON is assumed) and of Content-Encoding."""
    if not codings and tuple(types) == _USUAL:
        return
    _require_plain(codings)
    written = ", ".join(types)
    kind, *parameters = written.split(";")
    if written and not _TYPE.fullmatch(kind):
        raise _refused("Content-Type", written, "send JSON as application/json")
    for parameter in parameters:
        charset = _CHARSET.fullmatch(parameter)
        if charset is not None and charset[1].lower() not in _UTF_8:
            raise _refused("Content-Type", written, "send JSON in UTF-8")


def require_media(
    types: Iterable[str], codings: Iterable[str], takes: Sequence[str]
) -> tuple[str, str]:
    """One of the media types `takes`, by all values of the headers, and its charset; '' for none."""
    _require_plain(codings)
    written = ", ".join(types)
    kind, *parameters = written.split(";")
    media = kind.strip().lower()
    if media not in ("", *takes):
        raise _refused("Content-Type", written, f"send {' or '.join(takes)}", accept=takes)
    charsets = [found[1] for one in parameters if (found := _CHARSET.fullmatch(one))]
    return media, charsets[0].lower() if charsets else ""


def _require_plain(codings: Iterable[str]) -> None:
    coded = [name for value in codings for name in _names(value) if name.lower() != "identity"]
    if coded:
        raise _refused("Content-Encoding", coded[0], "send the body as it is", coding=True)


def require_utf_8(body: bytes) -> None:
    """By the first bytes, where the headers say nothing or something else."""
    for mark, name in _MARKS:
        if mark.match(body):
            fix = "send JSON in UTF-8, not compressed"
            problem = Detail("body", f"looks like {name}", fix)
            raise UnsupportedMediaType(f"The body looks like {name}; {fix}.", details=[problem])


def _names(value: str) -> list[str]:
    return [name for part in value.split(",") if (name := part.strip())]


def _refused(
    header: str,
    value: str,
    fix: str,
    *,
    coding: bool = False,
    accept: Sequence[str] = ("application/json",),
) -> UnsupportedMediaType:
    shown = repr(value if len(value) <= 80 else value[:80] + "…")
    detail = Detail(header, f"is {shown}", fix)
    return UnsupportedMediaType(
        f"{header}: {shown} is not taken here; {fix}.",
        details=[detail],
        coding=coding,
        accept=accept,
    )
