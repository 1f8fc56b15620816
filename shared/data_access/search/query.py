"""What both search adapters make of a request before they ask their store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.cursor import Listing, word
from shared.errors import Detail, InvalidInput

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
    def key(self) -> tuple[int, str]:
        return self.at, self.id

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


def listing(
    org_id: UUID, collection: str, query: str, filters: Mapping[str, str]
) -> Listing[Position]:
    """The list of what a search finds: the cursor of another search doesn't fit it."""
    asked = [text for filtered in sorted(filters.items()) for text in filtered]
    return Listing("search", (str(org_id), collection, query, *asked), _position)


def _position(at: object, item: object) -> Position:
    if type(at) is not int or abs(at) >= _MOMENTS:
        raise ValueError("no moment")
    return Position(at, word(item))
