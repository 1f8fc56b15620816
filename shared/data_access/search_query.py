"""What both search adapters make of a request before they ask their store."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from shared.errors import Detail, InvalidInput

MAX_QUERY = 500
NEVER = -(2**56)  # sorts after every time
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: a hit's sort key, the time in microseconds since 1970."""

    score: float
    at: int
    id: str


def check_query(query: str) -> None:
    if len(query) > MAX_QUERY:
        raise InvalidInput(
            "The search query is too long.",
            details=[Detail("query", f"{len(query)} characters", f"at most {MAX_QUERY}")],
        )


def microseconds(text: str | None) -> int:
    """RFC 3339 → microseconds since 1970, NEVER for None; without an offset it is taken as UTC."""
    if text is None:
        return NEVER
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            "A document's time is none.",
            details=[Detail("at", f"{text!r}", "RFC 3339, like 2024-12-04T09:30:00+08:00")],
        ) from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def encode_cursor(position: Position) -> str:
    raw = orjson.dumps([position.score, position.at, position.id])
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    try:
        value: Any = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        score, at, item = value
        if [type(score), type(at), type(item)] != [float, int, str] or "\0" in item:
            raise ValueError("not a position")
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidInput(
            "The cursor is not one of ours.",
            details=[Detail("cursor", "unreadable", "use next_cursor of the page before, or none")],
        ) from error
    return Position(score, at, item)
