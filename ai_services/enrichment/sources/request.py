"""What of a source is to be read: what is new since the last time, or the calls of a span of days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from ai_services.enrichment.sources.settings import SourceSettings
from ai_services.enrichment.sources.shard_reader import Span
from shared.data_access.ports import Row
from shared.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Request:
    """Days are local to `zone`; `last` is included. Without either: what is new, up to the end of
    yesterday.
    """

    zone: ZoneInfo
    today: date
    first: date | None = None
    last: date | None = None

    @classmethod
    def of(cls, args: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> Self:
        """InvalidInput for days that are none, or in the wrong order."""
        first, last = (_day(name, args.get(name)) for name in ("from", "to"))
        if first is not None and last is not None and last < first:
            raise InvalidInput.of("to", f"{last} is before {first}", "send from and to in order")
        return cls(zone, now.astimezone(zone).date(), first, last)

    @property
    def end(self) -> datetime:
        """Backfills may reach to now: what is missing of today comes with the next sync."""
        last = self.last or (self.today - timedelta(days=1 if self.first is None else 0))
        return midnight(last + timedelta(days=1), self.zone)

    @property
    def is_incremental(self) -> bool:
        return self.first is None and self.last is None

    def span(self, settings: SourceSettings, known: Row | None) -> Span:
        """Of one table, given how far it is."""
        since = None if settings.since is None else midnight(settings.since, self.zone)
        if not self.is_incremental:
            first = None if self.first is None else midnight(self.first, self.zone)
            starts = [at for at in (first, since) if at is not None]
            return Span(max(starts, default=None), self.end)
        through = None if known is None else known["through"]
        if through is None:
            return Span(since, self.end)
        first = through - timedelta(hours=settings.overlap_hours)
        return Span(first if since is None else max(first, since), self.end, changed=True)

    def moves(self, span: Span, settings: SourceSettings, known: Row | None) -> bool:
        """Whether, once the span is read, all is in up to its end: it leaves no gap before itself."""
        if self.after(span, settings) is None:
            return True
        assert span.first is not None, "it begins after something"
        through = None if known is None else known["through"]
        if through is None or span.first > through:
            return False
        # Days are those of calls: what changed of earlier ones meanwhile is not in.
        return span.changed or settings.changed is None

    def after(self, span: Span, settings: SourceSettings) -> datetime | None:
        """Up to when all has to be in before the span; None: it begins with the first that is read."""
        if span.first is None or settings.since is None:
            return span.first
        return None if span.first <= midnight(settings.since, self.zone) else span.first


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _day(name: str, value: object) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise InvalidInput.of(
            name, f"{str(value)[:40]!r} is no day", "write it like 2024-12-01"
        ) from None
