"""The search port on PostgreSQL full-text search, with terms of our own making.

Hits come newest first, found span by span (search_walk.py): what a page costs depends on how many
hits it shows, not on how many documents there are or how common a word is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from shared.data_access.ports import Document, Row, SearchHit, SearchPage, Transaction
from shared.data_access.relational.postgres import Postgres
from shared.data_access.search import walk
from shared.data_access.search.highlight import highlights
from shared.data_access.search.query import Position, check_query, listing, microseconds
from shared.data_access.search.terms import Word, words
from shared.data_access.search.vector import Place
from shared.data_access.search.walk import Near, Span

PART = "search"
_BATCH: Final = 1000

_INDEX = """
INSERT INTO search_document (org_id, collection, id, text, fields, at, terms)
SELECT $1, $2, id, text, fields, at, terms::tsvector
FROM unnest($3::text[], $4::text[], $5::jsonb[], $6::bigint[], $7::text[])
    AS document(id, text, fields, at, terms)
ON CONFLICT (org_id, collection, id) DO UPDATE SET
    text = excluded.text, fields = excluded.fields, at = excluded.at, terms = excluded.terms
"""
# These run across organisations with the organisation in the query: under a row policy PostgreSQL
# would not use the index, because @@ isn't marked leakproof. The scope is in the terms already;
# IS NOT DISTINCT FROM checks it without tempting the planner to another index, which has no say
# anyhow where a sequential scan is off: it would take one for a common word.
_PLANNER = "SET LOCAL enable_seqscan = off"
_NEAR = """
SELECT count(*) AS documents, min(at) AS oldest, max(at) AS newest FROM (
    SELECT at FROM search_document WHERE org_id = $1 AND collection = $2 AND at <= $3
    ORDER BY at DESC, id LIMIT $4) AS near
"""
_MATCHES = """
SELECT at, id FROM search_document
WHERE terms @@ $3::text::tsquery AND terms @@ $4::text::tsquery AND fields @> $5
  AND org_id IS NOT DISTINCT FROM $1 AND collection IS NOT DISTINCT FROM $2
LIMIT $6
"""
# In the order of the index over time; IS TRUE keeps the planner from that over the terms.
_IN_ORDER = """
SELECT at, id FROM search_document
WHERE org_id = $1 AND collection = $2 AND (terms @@ $3::text::tsquery) IS TRUE AND fields @> $4
  AND at BETWEEN $5 AND $6 AND (at < $6 OR id > $7)
ORDER BY at DESC, id LIMIT $8
"""
_SHOWN = """
SELECT id, text, fields FROM search_document
WHERE org_id = $1 AND collection = $2 AND id = ANY($3::text[])
"""


class PostgresSearch:
    """Search in the relational adapter's database; shares its connections."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def index(self, org_id: UUID, collection: str, documents: Sequence[Document]) -> None:
        await self._postgres.require(PART)
        latest = list({document.id: document for document in documents}.values())
        batches = [latest[start : start + _BATCH] for start in range(0, len(latest), _BATCH)]
        place = Place(org_id, collection)
        writing: asyncio.Task[None] | None = None
        try:
            for batch in batches:
                # Off the event loop, and while the server is busy with the batch before.
                columns = await asyncio.to_thread(_columns, place, batch)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write(org_id, collection, columns))
            if writing is not None:
                await writing
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.wait([writing])

    async def _write(self, org_id: UUID, collection: str, columns: tuple[list[Any], ...]) -> None:
        async with self._postgres.tenant(org_id) as tx:
            await tx.execute(_INDEX, org_id, collection, *columns)

    async def search(
        self,
        org_id: UUID,
        collection: str,
        query: str,
        *,
        filters: Mapping[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SearchPage:
        check_query(query)
        pages = listing(org_id, collection, query, filters or {})
        position = pages.position(cursor)
        wanted = words(query)
        if not wanted:
            return SearchPage((), None)
        await self._postgres.require(PART)
        async with self._postgres.system(who=org_id) as tx:
            await tx.execute(_PLANNER)
            source = _Documents(tx, org_id, collection, wanted, filters or {})
            found, end = await walk.page(source, position, limit)
            rows = await tx.fetch(_SHOWN, org_id, collection, [place.id for place in found])
        shown = {row["id"]: row for row in rows}
        # What was deleted a moment ago is left out.
        texts = [shown[place.id] for place in found if place.id in shown]
        hits = await asyncio.to_thread(_hits, texts, wanted)
        return SearchPage(hits, pages.after(end.key) if end else None)

    async def delete(self, org_id: UUID, collection: str, ids: Sequence[str]) -> None:
        await self._postgres.require(PART)
        async with self._postgres.tenant(org_id) as tx:
            await tx.execute(
                "DELETE FROM search_document WHERE org_id = $1 AND collection = $2 AND id = ANY($3)",
                org_id,
                collection,
                list(ids),
            )

    async def count(self, org_id: UUID, collection: str) -> int:
        await self._postgres.require(PART)
        async with self._postgres.tenant(org_id, readonly=True) as tx:
            counted = await tx.fetchval(
                "SELECT count(*) FROM search_document WHERE org_id = $1 AND collection = $2",
                org_id,
                collection,
            )
        return int(counted)

    async def refresh(self) -> None:
        """Nothing to do: what is committed can be found."""

    async def clear(self, org_id: UUID, collection: str) -> None:
        await self._postgres.require(PART)
        async with self._postgres.tenant(org_id) as tx:
            await tx.execute(
                "DELETE FROM search_document WHERE org_id = $1 AND collection = $2",
                org_id,
                collection,
            )

    async def ping(self) -> None:
        await self._postgres.require(PART)
        await self._postgres.ping()

    async def close(self) -> None:
        """The connections are the relational adapter's."""


class _Documents(walk.Source):
    """One organisation's collection and who of it matches, in one transaction."""

    def __init__(
        self,
        tx: Transaction,
        org_id: UUID,
        collection: str,
        wanted: Sequence[Word],
        filters: Mapping[str, str],
    ) -> None:
        self._tx = tx
        self._owner = (org_id, collection)
        self._place = Place(org_id, collection)
        self._wanted = wanted
        self._filters = dict(filters)

    async def near(self, at: int, most: int) -> Near:
        row = await self._tx.fetchrow(_NEAR, *self._owner, at, most)
        if row is None or row["newest"] is None:
            return Near(0, at, at)
        return Near(row["documents"], row["newest"], row["oldest"])

    async def matches(self, span: Span, most: int) -> list[Position]:
        queries = self._place.query(self._wanted, self._filters, span)
        rows = await self._tx.fetch(_MATCHES, *self._owner, *queries, self._filters, most)
        return [Position(row["at"], row["id"]) for row in rows]

    async def in_order(self, span: Span, after: Position, most: int) -> list[Position]:
        _, query = self._place.query(self._wanted, self._filters, span)
        rows = await self._tx.fetch(
            _IN_ORDER, *self._owner, query, self._filters, span.start, after.at, after.id, most
        )
        return [Position(row["at"], row["id"]) for row in rows]


def _hits(rows: Sequence[Row], wanted: Sequence[Word]) -> list[SearchHit]:
    return [SearchHit(row["id"], highlights(row["text"], wanted), row["fields"]) for row in rows]


def _columns(place: Place, documents: Sequence[Document]) -> tuple[list[Any], ...]:
    """The arrays for _INDEX: ids, texts, fields, times, vectors."""
    times = [microseconds(document.at) for document in documents]
    return (
        [document.id for document in documents],
        [_storable(document.text) for document in documents],
        [dict(document.fields) for document in documents],
        times,
        [
            place.vector(document.text, document.fields, at)
            for document, at in zip(documents, times, strict=True)
        ],
    )


def _storable(text: str) -> str:
    """PostgreSQL's text can't hold the character 0."""
    return text.replace("\0", " ") if "\0" in text else text
