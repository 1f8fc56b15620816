"""Show what was found without keeping the other requests of the process waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

_SHORT_CHARS = 20_000  # masked in a few milliseconds

Found = TypeVar("Found")
Shown = TypeVar("Shown")


async def in_turn(show: Callable[[Found], Shown], found: Found, chars: int) -> Shown:
    """What is found as the wire shows it. Much text is masked off the event loop."""
    return show(found) if chars <= _SHORT_CHARS else await asyncio.to_thread(show, found)
