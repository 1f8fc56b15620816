"""The values that a job carries: its arguments, its checkpoint, what it tells of its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from shared.errors import InvalidInput

MAX_ARGS_BYTES: Final = 16 << 10
MAX_CURSOR_BYTES: Final = 64 << 10


def checked_json(field: str, value: Mapping[str, Any], most: int) -> dict[str, Any]:
    """The value as PostgreSQL gives it back; InvalidInput for what isn't JSON, or is too much."""
    try:
        text = orjson.dumps(value)
    except TypeError as error:  # also half surrogate pairs, integers beyond 64 bits, depth
        fix = "send an object of texts, numbers, lists and objects"
        raise InvalidInput.of(field, f"can't be written as JSON ({error})", fix) from None
    if len(text) > most:
        fix = f"send at most {most}, or a reference to what is stored elsewhere"
        raise InvalidInput.of(field, f"has {len(text)} bytes as JSON", fix)
    back = orjson.loads(text)
    if not isinstance(back, dict):
        raise InvalidInput.of(field, "is no JSON object", "send an object")
    if _holds_nul(back):
        raise InvalidInput.of(field, "contains the character U+0000", "leave it out")
    return back


def _holds_nul(value: Any) -> bool:
    """PostgreSQL stores no such character."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(one) for key, one in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))
