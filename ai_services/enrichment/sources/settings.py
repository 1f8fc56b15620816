"""What the sources file says of one source, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.sources.routing import Layout, TableName
from ai_services.enrichment.sources.transcripts.spoken import SpokenColumns

Kind = Literal["mysql", "postgresql", "push"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and who we are there. `tls`: off, require (anybody's), verify."""

    host: str
    port: int
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    tls: str = "off"
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """Where what was said lies: tables of the same database, or a collection of MongoDB's."""

    columns: SpokenColumns
    table: str | None = None
    collection: str | None = None
    url: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One source. Times without an offset are of `timezone`; `since`: nothing before is read.

    `time` is the column of a call's start, `changed` that of a row's last change, `deleted` that of
    the mark of deleted rows; `key` empty: the table's primary key. `secret` is what pushed events are
    signed with.
    """

    name: str
    organisation: str
    kind: Kind
    preset: Preset
    address: Address | None = None
    layout: Layout = field(default_factory=lambda: Layout(TableName("")))
    key: tuple[str, ...] = ()
    time: str = ""
    changed: str | None = None
    deleted: str | None = None
    spoken: Spoken | None = None
    timezone: str | None = None
    since: date | None = None
    overlap_hours: int = 24
    concurrency: int = 2
    page_rows: int = 5_000
    timeout_s: int = 60
    secret: str | None = field(default=None, repr=False)

    @property
    def of_legs(self) -> bool:
        """Whether several rows may be one call's."""
        return self.preset.group_by is not None
