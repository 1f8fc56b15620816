"""The search port on PostgreSQL full-text search, with terms of our own making."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any
from uuid import UUID

from shared.data_access.highlight import highlights
from shared.data_access.ports import Document, Row, SearchHit, SearchPage
from shared.data_access.postgres import Postgres
from shared.data_access.search_query import (
    Position,
    check_query,
    decode_cursor,
    encode_cursor,
    microseconds,
)
from shared.data_access.terms import Word, terms, words

PART = "search"
_BATCH = 1000
_POSITIONS = tuple(map(str, range(1, 16383)))

_INDEX = """
INSERT INTO search_document (org_id, collection, id, text, fields, at, terms)
SELECT $1, $2, id, text, fields, at, terms::tsvector
FROM unnest($3::text[], $4::text[], $5::jsonb[], $6::bigint[], $7::text[])
    AS document(id, text, fields, at, terms)
ON CONFLICT (org_id, collection, id) DO UPDATE SET
    text = excluded.text, fields = excluded.fields, at = excluded.at, terms = excluded.terms
"""
# Runs across organisations with the organisation in the query: under a row policy PostgreSQL
# would not use the index, because @@ isn't marked leakproof. The scope is in the terms already;
# IS NOT DISTINCT FROM checks it without tempting the planner to the primary key.
_SEARCH = """
WITH found AS (
    SELECT id, text, fields, at, ts_rank(terms, $3::text::tsquery, 1)::float8 AS score
    FROM search_document
    WHERE terms @@ $4::text::tsquery AND fields @> $5
      AND org_id IS NOT DISTINCT FROM $1 AND collection IS NOT DISTINCT FROM $2
)
SELECT id, text, fields, at, score FROM found
WHERE $6::float8 IS NULL OR score < $6
   OR (score = $6 AND (at < $7::bigint OR (at = $7 AND id > $8)))
ORDER BY score DESC, at DESC, id
LIMIT $9
"""


class PostgresSearch:
    """Search in the relational adapter's database; shares its connections."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def index(self, org_id: UUID, collection: str, documents: Sequence[Document]) -> None:
        await self._postgres.require(PART)
        latest = list({document.id: document for document in documents}.values())
        batches = [latest[start : start + _BATCH] for start in range(0, len(latest), _BATCH)]
        writing: asyncio.Task[None] | None = None
        try:
            for batch in batches:
                # Off the event loop, and while the server is busy with the batch before.
                columns = await asyncio.to_thread(_columns, org_id, collection, batch)
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
        position = decode_cursor(cursor)
        wanted = words(query)
        if not wanted:
            return SearchPage((), None)
        filters = filters or {}
        await self._postgres.require(PART)
        rank = _tsquery(wanted, ())
        match = _tsquery(wanted, (_scope(org_id, collection), *_field_terms(filters)))
        after = (position.score, position.at, position.id) if position else (None, None, None)
        async with self._postgres.system() as tx:
            rows = await tx.fetch(
                _SEARCH, org_id, collection, rank, match, dict(filters), *after, limit + 1
            )
        hits = await asyncio.to_thread(_hits, rows[:limit], wanted)
        return SearchPage(hits, _cursor(rows[limit - 1]) if len(rows) > limit else None)

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


def _hits(rows: Sequence[Row], wanted: Sequence[Word]) -> list[SearchHit]:
    return [
        SearchHit(row["id"], row["score"], highlights(row["text"], wanted), row["fields"])
        for row in rows
    ]


def _cursor(row: Row) -> str:
    return encode_cursor(Position(row["score"], row["at"], row["id"]))


def _columns(org_id: UUID, collection: str, documents: Sequence[Document]) -> tuple[list[Any], ...]:
    """The arrays for _INDEX: ids, texts, fields, times, vectors."""
    scope = _scope(org_id, collection)
    return (
        [document.id for document in documents],
        [_storable(document.text) for document in documents],
        [dict(document.fields) for document in documents],
        [microseconds(document.at) for document in documents],
        [
            _tsvector(terms(document.text), (scope, *_field_terms(document.fields)))
            for document in documents
        ],
    )


def _tsvector(found: Sequence[str], marks: Iterable[str]) -> str:
    """The text form of a tsvector; PostgreSQL keeps 255 positions of a term, up to 16383."""
    positions: dict[str, list[str]] = {}
    for term, position in zip(found, chain(_POSITIONS, repeat("16383")), strict=False):
        positions.setdefault(term, []).append(position)
    parts = [_quoted(mark) for mark in marks]
    parts += [f"{_quoted(term)}:{','.join(where[:255])}" for term, where in positions.items()]
    return " ".join(parts)


def _tsquery(wanted: Sequence[Word], marks: Iterable[str]) -> str:
    parts = [_quoted(mark) for mark in marks]
    for word in wanted:
        parts += [_quoted(term) for term in word.terms]
        if word.prefix is not None:
            parts.append(f"{_quoted(word.prefix)}:*")
    return " & ".join(dict.fromkeys(parts))


# Terms of texts never contain '='.


def _scope(org_id: UUID, collection: str) -> str:
    return "=" + _digest(f"{org_id}/{collection}")


def _field_terms(fields: Mapping[str, str]) -> list[str]:
    return ["=" + _digest(f"{name}\0{value}") for name, value in fields.items()]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=9).hexdigest()


def _quoted(term: str) -> str:
    if term.isalnum():
        return f"'{term}'"
    escaped = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _storable(text: str) -> str:
    """PostgreSQL's text can't hold the character 0."""
    return text.replace("\0", " ") if "\0" in text else text
