"""What both search adapters make of a request before they ask their store."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from shared.errors import Detail, InvalidInput, MalformedRequest

MAX_QUERY = 500
NEVER = -(2**56)  # sorts after every time
ALWAYS = 2**60  # sorts before every time
_MOMENTS = 2**61  # no document's time, nor the start of its widest span, lies beyond
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of hits, newest first and by id among the same time.

    Both are facts of the document, so whatever is written between two pages, the next one begins
    where the last one ended. `at` is in microseconds since 1970; an empty `id` comes before all
    others of its time.
    """

    at: int
    id: str

    @property
    def order(self) -> tuple[int, str]:
        return -self.at, self.id

    def before(self, other: Position) -> bool:
        return self.order < other.order


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
    raw = orjson.dumps([position.at, position.id])
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> Position | None:
    """Raises InvalidInput for what is no cursor, MalformedRequest for one that no longer holds."""
    if cursor is None:
        return None
    try:
        value: Any = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if [type(part) for part in value] == [float, int, str]:  # by relevance, until 2026
            raise MalformedRequest(
                "cursor: is of an earlier version; start again without a cursor",
                details=[Detail("cursor", "is of an earlier version", "start again without one")],
            )
        at, item = value
        if [type(at), type(item)] != [int, str] or "\0" in item or abs(at) >= _MOMENTS:
            raise ValueError("not a position")
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidInput(
            "The cursor is not one of ours.",
            details=[Detail("cursor", "unreadable", "use next_cursor of the page before, or none")],
        ) from error
    return Position(at, item)
