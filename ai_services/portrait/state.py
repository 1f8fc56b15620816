"""What the endpoints of the portrait service find opened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ai_services.portrait.answers import Answers
from shared.data_access.ports import Relational
from shared.serving.peers import Peers


def _two() -> asyncio.Semaphore:
    return asyncio.Semaphore(2)


@dataclass(frozen=True, slots=True)
class Stores:
    """`drawing` are the turns of pictures, each of which takes a core for tens of milliseconds, and
    `exporting` those of exports, each of which holds a connection for as long as its client reads.
    """

    relational: Relational
    answers: Answers
    peers: Peers
    drawing: asyncio.Semaphore = field(default_factory=_two)
    exporting: asyncio.Semaphore = field(default_factory=_two)
