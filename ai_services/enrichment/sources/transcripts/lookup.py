"""Where what was said is looked up: a contract, and the tables beside the calls.

A page of calls is one query: never one for each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, Protocol

from ai_services.enrichment.sources.databases.database import Connection, Table
from ai_services.enrichment.sources.routing import Shard
from ai_services.enrichment.sources.transcripts.spoken import SpokenColumns, turns_of
from shared.errors import Detail, InvalidInput

_AT_ONCE: Final = 5_000  # keys in one query


class Transcripts(Protocol):
    async def of(
        self, connection: Connection, shard: Shard, callids: Sequence[str]
    ) -> Mapping[str, str]:
        """By callid: a JSON list of turns, of those calls that have one.

        `connection` is the one by which the calls were read. Raises as a Connection does;
        InvalidInput where what it reads isn't as the sources file says.
        """
        ...


class NoTranscripts:
    """Those of a source whose calls come without, or with their turns in a column."""

    async def of(
        self, connection: Connection, shard: Shard, callids: Sequence[str]
    ) -> Mapping[str, str]:
        del connection, shard, callids
        return {}


class TableTranscripts:
    """Those in a table of the same database: that of the shard's month, or one for all."""

    def __init__(self, how: SpokenColumns) -> None:
        self._how = how
        self._orders: dict[str, str | None] = {}

    async def of(
        self, connection: Connection, shard: Shard, callids: Sequence[str]
    ) -> Mapping[str, str]:
        if shard.details is None or not callids:
            return {}
        order = await self._order(connection, shard.details)
        found: dict[str, str] = {}
        for start in range(0, len(callids), _AT_ONCE):
            rows = await connection.matching(
                shard.details, self._how.names, self._how.key,
                callids[start : start + _AT_ONCE], order,
            )  # fmt: skip
            for callid, of_call in groupby(rows, key=itemgetter(0)):
                turns = turns_of([row[1:] for row in of_call], self._how)
                if turns is not None:
                    found[str(callid)] = turns
        return found

    async def _order(self, connection: Connection, name: str) -> str | None:
        """By what a call's rows are sorted: as they were written, unless the file says how."""
        if name not in self._orders:
            table = await connection.table(name)
            if table is None:
                return None  # it was dropped since
            self._orders[name] = self._order_of(table)
        return self._orders[name]

    def _order_of(self, table: Table) -> str | None:
        wanted = [*self._how.names, *([self._how.order] if self._how.order else [])]
        missing = [one for one in wanted if one not in table.columns]
        if missing:
            fix = f"name it under transcripts; there are {', '.join(list(table.columns)[:30])}"
            details = [
                Detail(f"{table.name}.{one}", "there is no such column", fix) for one in missing
            ]
            told = "; ".join(f"{one.field}: {one.problem}, {one.fix}" for one in details)
            raise InvalidInput(f"{told}.", details=details)
        return self._how.order or next(iter(table.unique), None)
