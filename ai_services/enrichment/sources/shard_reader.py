"""Reads one table of a source, page by page, from a place on; comes back when the source does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from ai_services.enrichment.sources.databases.database import Connection, Database, Rows, Table
from ai_services.enrichment.sources.databases.statement import Order, Position, Window
from ai_services.enrichment.sources.routing import Shard
from ai_services.enrichment.sources.rows import Columns, columns_of
from ai_services.enrichment.sources.settings import SourceSettings
from ai_services.enrichment.sources.time_column import TimeColumn, time_column
from ai_services.enrichment.sources.transcripts.lookup import Transcripts
from shared.errors import InvalidInput, UpstreamUnavailable

_TRIES: Final = 6  # in a row; then the job waits longer than a reader should
_FIRST_PAUSE_S: Final = 0.5
# Stands before places among the rows that have never been changed, and for their end.
_UNCHANGED: Final[Position] = ("", "", "")
_log = structlog.get_logger("looma.sources")


@dataclass(frozen=True, slots=True)
class Span:
    """From when (None: the beginning) until when; `changed`: by the last change of rows rather than
    by the start of calls, where the source keeps that.
    """

    first: datetime | None
    end: datetime
    changed: bool = False


@dataclass(frozen=True, slots=True)
class RawPage:
    """Rows as they were read, and what was said in their calls. `position` is where the next page
    begins, `through` up to when everything was read, where that can be told; `last`: there is no more.
    """

    shard: Shard
    columns: Columns
    rows: Rows
    turns: dict[str, str]
    position: Position | None
    through: datetime | None
    last: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """How one table is read: what of it, in which order, which rows."""

    columns: Columns
    order: Order
    window: Window
    by_time: bool
    time: TimeColumn


class ShardReader:
    """Reads shards of one source by connections of its own, one for each reader."""

    def __init__(
        self,
        settings: SourceSettings,
        database: Database,
        transcripts: Transcripts,
        zone: ZoneInfo,
        pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._settings = settings
        self._database = database
        self._transcripts = transcripts
        self.zone = ZoneInfo(settings.timezone) if settings.timezone else zone
        self._pause_s = pause_s

    async def shards(self) -> list[Shard]:
        """All tables of calls that there are now, the oldest first."""
        async with self._database.connect() as connection:
            return self._settings.layout.shards(await connection.tables())

    async def count(self, shard: Shard, span: Span) -> int:
        async with self._database.connect() as connection:
            table = await connection.table(shard.table)
            if table is None:
                return 0
            plans = [self._plan(table, span)]
            if self._is_by_change(span):
                plans.append(self._plan(table, span, unchanged=True))
            return sum([await connection.count(shard.table, plan.window) for plan in plans])

    async def pages(
        self, shard: Shard, span: Span, after: Position | None = None
    ) -> AsyncGenerator[RawPage, None]:
        """There is always a last one. A page that was interrupted is read anew.

        InvalidInput for a table that isn't as the sources file says; UpstreamUnavailable once the
        source has been away for some tries.
        """
        failures = 0
        while True:
            try:
                async with self._database.connect() as connection:
                    async for page in self._connected(connection, shard, span, after):
                        failures, after = 0, page.position
                        yield page
                return
            except UpstreamUnavailable as error:
                failures += 1
                if failures >= _TRIES:
                    raise
                pause = self._pause_s * 2.0 ** (failures - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
                _log.warning("source_away", source=self._settings.name, reason=error.message)
                await asyncio.sleep(pause)

    async def _connected(
        self, connection: Connection, shard: Shard, span: Span, after: Position | None
    ) -> AsyncGenerator[RawPage, None]:
        """Rows that have never been changed come first, so that the mark moves only after them."""
        table = await connection.table(shard.table)
        if table is None:  # dropped since it was listed
            yield RawPage(shard, Columns((), {}), (), {}, None, None, last=True)
            return
        begun = () if after is None else after[: len(_UNCHANGED)]
        if self._is_by_change(span) and (after is None or begun == _UNCHANGED != after):
            plan, start = self._plan(table, span, unchanged=True), (after or ())[len(_UNCHANGED) :]
            async with aclosing(
                self._walk(connection, shard, span, plan, start or None)
            ) as unchanged:
                async for page in unchanged:
                    place = _UNCHANGED if page.last else (*_UNCHANGED, *(page.position or ()))
                    if page.rows or not page.last:
                        yield replace(page, position=place, through=None, last=False)
        if begun == _UNCHANGED:
            after = None
        plan = self._plan(table, span)
        async with aclosing(self._walk(connection, shard, span, plan, after)) as pages:
            async for page in pages:
                yield page

    async def _walk(
        self,
        connection: Connection,
        shard: Shard,
        span: Span,
        plan: Plan,
        after: Position | None,
    ) -> AsyncGenerator[RawPage, None]:
        size = self._settings.page_rows
        while True:
            rows = await connection.page(
                shard.table, plan.columns.names, plan.order, plan.window, after, size
            )
            last = len(rows) < size
            if rows:
                places = [plan.columns.names.index(name) for name in plan.order.columns]
                after = tuple(str(rows[-1][place]) for place in places)
            rows = _within(rows, plan, span)
            turns = await self._turns(connection, shard, plan.columns, rows)
            through = span.end if last else self._through(after, plan)
            yield RawPage(shard, plan.columns, rows, turns, after, through, last)
            if last:
                return

    async def _turns(
        self, connection: Connection, shard: Shard, columns: Columns, rows: Rows
    ) -> dict[str, str]:
        place = columns.fields.get("callid")
        if place is None:
            return {}
        callids = [row[place] for row in rows]
        wanted = [one for one in callids if one]
        return dict(await self._transcripts.of(connection, shard, wanted))

    def _is_by_change(self, span: Span) -> bool:
        return span.changed and self._settings.changed is not None

    def _plan(self, table: Table, span: Span, *, unchanged: bool = False) -> Plan:
        """`unchanged`: of a span of changes, the rows without any, by the start of their calls."""
        settings = self._settings
        key = settings.key or next(iter(table.unique), None)
        if key is None:
            raise InvalidInput.of(
                f"{table.name}", "has no column that is unique, by which it could be read in pages",
                "name one as key in the sources file",
            )  # fmt: skip
        by_change = self._is_by_change(span) and not unchanged
        by = settings.changed if by_change and settings.changed else settings.time
        columns = columns_of(table, settings.preset, order=(by, key), deleted=settings.deleted)
        # Without an index of its times, each page by time would be a walk over the whole table.
        by_time = by in table.indexed
        names = (by, key) if by_time and by != key else (key,)
        order = Order(names, tuple(table.columns[name] for name in names))
        time = time_column(table, by, settings.preset.time_formats, self.zone)
        window = time.window(span.first, span.end)
        if unchanged:
            window = replace(window, lacks=settings.changed)
        return Plan(columns, order, window, by_time and by != key, time)

    def _through(self, position: Position | None, plan: Plan) -> datetime | None:
        """Text may have times of a day in any order: of it nothing is told before the end."""
        if not plan.by_time or position is None or plan.time.day is not None:
            return None
        [at] = plan.time.moments([position[0]])
        return None if at is None else at.astimezone(UTC)


def _within(rows: Rows, plan: Plan, span: Span) -> Rows:
    place = plan.columns.names.index(plan.time.name)
    kept = plan.time.within(rows, place, span.first, span.end)
    return rows if kept is None else [row for row, keep in zip(rows, kept, strict=True) if keep]
