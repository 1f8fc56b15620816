"""Reading a paged list to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from shared.cursor import Page

T = TypeVar("T")


async def every(fetch: Callable[[str | None], Awaitable[Page[T]]]) -> list[T]:
    """The items of all pages; `fetch` gets a cursor, None for the first page."""
    items: list[T] = []
    cursor: str | None = None
    while True:
        page = await fetch(cursor)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items
