"""Cursors of paged lists: the key of the last row shown, opaque to clients."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar
from uuid import UUID

import orjson

from shared.errors import Detail, InvalidInput

T = TypeVar("T")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)  # before every row


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: Sequence[T]
    next_cursor: str | None


def page(rows: Sequence[T], limit: int, key: Callable[[T], Sequence[str]]) -> Page[T]:
    """The first `limit` of `rows`, of which one more was asked for."""
    shown = rows[:limit]
    return Page(shown, encode(key(shown[-1])) if len(rows) > limit else None)


def encode(key: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(list(key))).decode().rstrip("=")


def after_row(cursor: str | None) -> tuple[datetime, UUID] | None:
    """The (created_at, id) in a cursor; raises InvalidInput."""
    return _decode(cursor, lambda at, identity: (_time(at), UUID(identity)))


def after_subject(cursor: str | None) -> tuple[datetime, str] | None:
    """The (revoked_at, subject) in a cursor; raises InvalidInput."""
    return _decode(cursor, lambda at, subject: (_time(at), _plain(subject)))


def before_number(cursor: str | None) -> int | None:
    """The sequence number in a cursor; raises InvalidInput."""
    return _decode(cursor, _number)


def _decode(cursor: str | None, parse: Callable[..., T]) -> T | None:
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key = orjson.loads(raw)
        if not isinstance(key, list) or not all(isinstance(part, str) for part in key):
            raise ValueError("not a list of strings")
        return parse(*key)
    except (ValueError, TypeError, OverflowError) as error:
        problem = Detail("cursor", "is not one that this list gave", "send next_cursor unchanged")
        raise InvalidInput(
            f"cursor: {problem.problem}; {problem.fix}", details=[problem]
        ) from error


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or not 1970 <= at.year < 9000:
        raise ValueError("out of range or without offset")
    return at


def _number(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError("out of range")
    return number


def _plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("PostgreSQL stores no NUL")
    return text
