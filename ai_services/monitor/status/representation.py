"""Which form of the status a client is sent (RFC 9110 §12.5.1): JSON, or a page for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

_RANGE: Final = re.compile(r"[ \t]*([^ \t;/]+/[^ \t;/]+)[ \t]*((?:;.*)?)", re.DOTALL)
_QUALITY: Final = re.compile(
    r";[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*(?:;|$)", re.IGNORECASE
)
_HTML: Final = ("text/html", "text/*", "*/*")  # by how exactly each names it
_JSON: Final = ("application/json", "application/*", "*/*")


def prefers_html(accept: Iterable[str]) -> bool:
    """By all values of Accept. JSON is sent where both are as welcome, and where neither is.

    A range that can't be read counts as not sent.
    """
    asked = dict(_ranges(accept))
    return _quality(asked, _HTML) > _quality(asked, _JSON)


def _ranges(accept: Iterable[str]) -> Iterator[tuple[str, float]]:
    for part in ",".join(accept).split(","):
        found = _RANGE.fullmatch(part)
        if found is None:
            continue
        name, parameters = found[1].lower(), found[2]
        quality = _QUALITY.search(parameters)
        if quality is None and re.search(r";[ \t]*q=", parameters, re.IGNORECASE):
            continue
        yield name, float(quality[1]) if quality else 1.0


def _quality(asked: dict[str, float], names: tuple[str, ...]) -> float:
    """That of the range that names it most exactly; 0 where none does."""
    return next((asked[name] for name in names if name in asked), 0.0)
