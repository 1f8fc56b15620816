"""Where an organisation's calls are fetched from.

A kind of source (a folder that a dialler exports to; databases are in `sources/`) is one `CallSource`. What it
has comes as deliveries, each of which is imported once, whoever is killed on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ai_services.enrichment.reading.read_file import Batch


@dataclass(frozen=True, slots=True)
class Organisation:
    """Whose calls are looked for; `slug` is its short name."""

    org_id: UUID
    slug: str


class Delivery(Protocol):
    """Calls that become one import. `key` tells it apart from all others of the organisation, and
    from itself once it holds something else; `name` is what the list of imports calls it, `preset`
    how it is read; `size` is in bytes.
    """

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def preset(self) -> str: ...
    @property
    def size(self) -> int: ...

    def batches(self, now: datetime) -> Iterator[Batch]:
        """In a thread; the same ones for the same `now`. InvalidInput for what can't be read."""
        ...

    async def settle(self, import_id: UUID, error: str | None) -> bool:
        """See to it that it isn't delivered again, with why it, or its rest, wasn't taken.

        False if it has changed since: then it is delivered again, under another key.
        """
        ...


@dataclass(frozen=True, slots=True)
class Supply:
    """What a source has of an organisation now: `sources` is how many places that is, `waiting` how
    many deliveries aren't ready yet, `refused` how many can't be taken at all.
    """

    sources: int = 0
    deliveries: Sequence[Delivery] = ()
    waiting: int = 0
    refused: int = 0


class CallSource(Protocol):
    async def look(self, organisation: Organisation) -> Supply:
        """In the order in which they are to be imported. StoreError if it can't be looked into."""
        ...
