"""Ids that come from outside: of calls, accounts, customers and tasks.

An id is the same however its characters are composed (Unicode NFC), and every id that is taken in
can be named in a path of the API. What no path can name is refused at the door: slashes (servers
differ in what they make of an encoded one, so the gateway refuses those), dot segments, words
that are routes, characters that nobody sees.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

MAX_ID_CHARS: Final = 64
# Literal path segments beside which an id may stand, e.g. /api/v1/calls/search.
ROUTE_WORDS: Final = ("search",)
# Patterns in the dialects of both Python's and polars' regular expressions.
UNADDRESSABLE: Final = rf"[/\\]|^(?:\.\.?|{'|'.join(ROUTE_WORDS)})$"
# Beside what Unicode calls control, format or private characters: letters and marks that show
# nothing.
BLANK_LETTERS: Final = "\u115f\u1160\u2800\u3164\uffa0"
_UNADDRESSABLE: Final = re.compile(UNADDRESSABLE)


def one_spelling(text: str) -> str:
    """Canonically composed (NFC): `é` written as `e` and an accent is `é`."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def why_unaddressable(value: str) -> tuple[str, str] | None:
    """Why no path can name this id, and what to do; None for one that can be named."""
    match = _UNADDRESSABLE.search(value)
    if match is None:
        return None
    if match[0] in "/\\":
        return (
            f"contains {match[0]!r}, which no path of the API can carry",
            "write another character for it, for example -",
        )
    if match[0] in (".", ".."):
        return "consists of dots, which a path leaves out", "write a letter or a digit with them"
    return (
        f"is {match[0]!r}, which is a route of the API",
        "write it otherwise, for example in capitals",
    )


def _composed(value: object) -> object:
    return one_spelling(value) if isinstance(value, str) else value


# As a query parameter.
Id = Annotated[str, BeforeValidator(_composed), Field(min_length=1, max_length=MAX_ID_CHARS)]
