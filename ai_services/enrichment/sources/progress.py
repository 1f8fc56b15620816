"""How far the reading of a source is, as its job keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from ai_services.enrichment.sources.page import Page, Stored
from ai_services.enrichment.sources.routing import Shard
from ai_services.enrichment.sources.shard_reader import Span

OUTCOMES: Final = ("inserted", "updated", "unchanged", "duplicate", "rejected", "deleted")


@dataclass(slots=True)
class Progress:
    """What checkpoints hold. `started` is when the run began, whichever import it is by now; `places`:
    table → the place that it is read up to; `done`: those that are read; `failed`: why others could
    not be.
    """

    import_id: str
    started: str
    line: int = 0
    rows: int = 0
    total: int | None = None
    places: dict[str, list[str]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))

    def note(self, page: Page, stored: Stored) -> None:
        """What a page brought."""
        self.line = max(self.line, page.batch.last_line, *page.batch.replaced)
        self.rows += len(page.raw.rows)
        for outcome, rows in stored.outcomes.items():
            self.outcomes[outcome] += rows

    def json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Part:
    """A table that is to be read, and whether that moves up to when it is in, given that this is not
    before `after` (None: whenever it is).
    """

    shard: Shard
    span: Span
    moves: bool
    after: datetime | None
