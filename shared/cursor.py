"""Cursors of paged lists: where a page ended, opaque to clients.

A cursor holds the key of the last row shown, so that the next page begins there whatever was
added or removed meanwhile, and a mark of the list and of what was asked of it. It is good for that
list only: with other filters the key would point somewhere else. What is in it is checked as any
other input; one that was made up shows nothing that its caller may not see, and breaks nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

import orjson
from pydantic import Field

from shared.errors import InvalidInput, MalformedRequest

T = TypeVar("T")
K = TypeVar("K")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)  # before every row
MAX_CURSOR_CHARS: Final = 1_000
_VERSION: Final = 1

# As a query parameter.
Cursor = Annotated[
    str, Field(max_length=MAX_CURSOR_CHARS, description="next_cursor of the page before")
]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: Sequence[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Listing(Generic[K]):
    """A list that is paged: its name, what was asked of it (whose it is, filters), and what makes
    a key of the texts and numbers in its cursors (ValueError or TypeError for what is none).
    """

    name: str
    asked: tuple[str | None, ...]
    key: Callable[..., K]

    def position(self, cursor: str | None) -> K | None:
        """The key that `cursor` holds.

        Raises InvalidInput (422) for what no list gave out, MalformedRequest (400) for the cursor
        of another query or another version: the client starts again without one.
        """
        if cursor is None:
            return None
        try:
            version, mark, *key = _decode(cursor)
            if (version, mark) == (_VERSION, self._mark()):
                return self.key(*key)
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidInput.of(
                "cursor", "is not one that this list gave", "send next_cursor unchanged"
            ) from error
        raise MalformedRequest.of(
            "cursor", "belongs to another query", "start again without a cursor"
        )

    def page(self, rows: Sequence[T], limit: int, key: Callable[[T], Sequence[Any]]) -> Page[T]:
        """The first `limit` of `rows`, of which one more was asked for; `key` is a row's key."""
        shown = rows[:limit]
        return Page(shown, self.after(key(shown[-1])) if len(rows) > limit else None)

    def after(self, key: Sequence[Any]) -> str:
        """The cursor of the page that begins after `key`."""
        raw = orjson.dumps([_VERSION, self._mark(), *key])
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def _mark(self) -> str:
        """Eight bytes that differ between lists and queries; no secret."""
        asked = orjson.dumps([self.name, *self.asked])
        return hashlib.blake2b(asked, digest_size=8).hexdigest()


def moment(text: object) -> datetime:
    """A key's time. Every row that a list shows lies between 1970 and 9000."""
    at = datetime.fromisoformat(_text(text))
    if at.tzinfo is None or not 1970 <= at.year < 9000:
        raise ValueError("out of range or without offset")
    return at


def dated(at: object, row: object) -> tuple[datetime, UUID]:
    """The key of rows in the order of their time: (time, id)."""
    return moment(at), UUID(_text(row))


def number(value: object) -> int:
    """A key's whole number: what PostgreSQL's bigint holds."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("no whole number, or out of range")
    return value


def word(text: object) -> str:
    """A key's text; PostgreSQL stores no NUL."""
    if "\0" in _text(text):
        raise ValueError("holds NUL")
    return _text(text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _decode(cursor: str) -> list[Any]:
    if len(cursor) > MAX_CURSOR_CHARS:
        raise ValueError("too long")
    raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    value = orjson.loads(raw)
    if not isinstance(value, list):
        raise ValueError("not a list")  # noqa: TRY004 - one kind of refusal for all of them
    return value
