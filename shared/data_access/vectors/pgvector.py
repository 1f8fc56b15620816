"""The vector port on pgvector.

A small set is searched exactly: an HNSW index is shared by all organisations, and looking for a
few rows among many in it is slower than comparing them and may miss some. A large set uses the
index with iterative scans, which go on until enough rows pass the filters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

import orjson

from shared.data_access.ports import Transaction, VectorHit, VectorItem
from shared.data_access.relational.postgres import Postgres
from shared.data_access.vectors.vector_input import check_vector
from shared.errors import ConfigError

PART = "vectors"
EXACT_UP_TO = 20_000  # rows; comparing them takes 14 ms at 64 dimensions
_BATCH = 1000
_INDEXED = (32, 64, 128, 256, 384, 512, 768, 1024, 1536)  # as in 0007_vectors.sql

_AVAILABLE = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')"
_UPSERT = """
INSERT INTO vector_item (org_id, collection, model_version, id, dim, embedding, properties)
SELECT $1, $2, $3, id, dim, embedding::vector, properties
FROM unnest($4::text[], $5::int[], $6::text[], $7::jsonb[]) AS item(id, dim, embedding, properties)
ON CONFLICT (org_id, collection, model_version, id) DO UPDATE SET
    dim = excluded.dim, embedding = excluded.embedding, properties = excluded.properties
"""
_IS_LARGE = """
SELECT count(*) = $4 FROM (
    SELECT FROM vector_item WHERE org_id = $1 AND collection = $2 AND model_version = $3 LIMIT $4
) AS counted
"""
_OURS = """
WHERE org_id = $1 AND collection = $2 AND model_version = $3 AND properties @> $5
"""
_EXACT = f"""
SELECT id, 1 - (embedding <=> $4::text::vector) AS similarity, properties FROM vector_item
{_OURS} AND dim = vector_dims($4::text::vector)
ORDER BY similarity DESC, id LIMIT $6
"""  # noqa: S608 - both parts are constants
# Iterative scans return rows almost in order: sorted again outside. The dimension stands in the
# text, because only so the partial index is recognised.
_BY_INDEX: Mapping[int, str] = MappingProxyType(
    {
        dim: f"""
SELECT id, 1 - distance AS similarity, properties FROM (
    SELECT id, properties, embedding::vector({dim}) <=> $4::text::vector({dim}) AS distance
    FROM vector_item {_OURS} AND dim = {dim}
    ORDER BY distance LIMIT $6
) AS nearest
ORDER BY similarity DESC, id
"""  # noqa: S608 - made of constants
        for dim in _INDEXED
    }
)
# Without enable_sort the planner can't mistake the set for a small one.
_SCAN = (
    "SET LOCAL enable_sort = off; SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = 200; "
    "SET LOCAL hnsw.max_scan_tuples = 200000"
)
_GET = """
SELECT id, embedding::real[] AS vector, properties FROM vector_item
WHERE org_id = $1 AND collection = $2 AND model_version = $3 AND id = ANY($4)
"""


class PgVectors:
    """Vectors in the relational adapter's database; shares its connections."""

    def __init__(self, postgres: Postgres, *, exact_up_to: int = EXACT_UP_TO) -> None:
        self._postgres = postgres
        self._exact_up_to = exact_up_to
        self._prepared = False

    async def upsert(
        self, org_id: UUID, collection: str, model_version: str, items: Sequence[VectorItem]
    ) -> None:
        for item in items:
            check_vector(item.vector)
        await self._prepare()
        latest = list({item.id: item for item in items}.values())
        for start in range(0, len(latest), _BATCH):
            batch = latest[start : start + _BATCH]
            async with self._postgres.tenant(org_id) as tx:
                await tx.execute(
                    _UPSERT,
                    org_id,
                    collection,
                    model_version,
                    [item.id for item in batch],
                    [len(item.vector) for item in batch],
                    [_text(item.vector) for item in batch],
                    [dict(item.properties) for item in batch],
                )

    async def search(
        self,
        org_id: UUID,
        collection: str,
        model_version: str,
        vector: Sequence[float],
        *,
        limit: int = 10,
        where: Mapping[str, str | int | float | bool] | None = None,
    ) -> list[VectorHit]:
        check_vector(vector)
        await self._prepare()
        scope = (org_id, collection, model_version)
        args = (*scope, _text(vector), dict(where or {}), limit)
        async with self._postgres.tenant(org_id, readonly=True) as tx:
            rows = await tx.fetch(await self._query(tx, scope, len(vector)), *args)
        return [VectorHit(row["id"], row["similarity"], row["properties"]) for row in rows]

    async def get(
        self, org_id: UUID, collection: str, model_version: str, ids: Sequence[str]
    ) -> dict[str, VectorItem]:
        await self._prepare()
        async with self._postgres.tenant(org_id, readonly=True) as tx:
            rows = await tx.fetch(_GET, org_id, collection, model_version, list(ids))
        return {row["id"]: VectorItem(row["id"], row["vector"], row["properties"]) for row in rows}

    async def delete(self, org_id: UUID, collection: str, ids: Sequence[str]) -> None:
        await self._prepare()
        async with self._postgres.tenant(org_id) as tx:
            await tx.execute(
                "DELETE FROM vector_item WHERE org_id = $1 AND collection = $2 AND id = ANY($3)",
                org_id,
                collection,
                list(ids),
            )

    async def count(self, org_id: UUID, collection: str, model_version: str) -> int:
        await self._prepare()
        async with self._postgres.tenant(org_id, readonly=True) as tx:
            counted = await tx.fetchval(
                "SELECT count(*) FROM vector_item "
                "WHERE org_id = $1 AND collection = $2 AND model_version = $3",
                org_id,
                collection,
                model_version,
            )
        return int(counted)

    async def clear(self, org_id: UUID, collection: str) -> None:
        await self._prepare()
        async with self._postgres.tenant(org_id) as tx:
            await tx.execute(
                "DELETE FROM vector_item WHERE org_id = $1 AND collection = $2", org_id, collection
            )

    async def ping(self) -> None:
        await self._postgres.ping()
        await self._prepare()

    async def close(self) -> None:
        """The connections are the relational adapter's."""

    async def _query(self, tx: Transaction, scope: tuple[Any, ...], dim: int) -> str:
        if dim not in _BY_INDEX or not await tx.fetchval(_IS_LARGE, *scope, self._exact_up_to):
            return _EXACT
        await tx.execute(_SCAN)
        return _BY_INDEX[dim]

    async def _prepare(self) -> None:
        if self._prepared:
            return
        async with self._postgres.system() as tx:
            available = await tx.fetchval(_AVAILABLE)
        if not available:
            raise ConfigError(
                "VECTOR_URL is not set, and the PostgreSQL at DATABASE_URL has no pgvector. "
                "Install pgvector there, or set VECTOR_URL, e.g. VECTOR_URL=http://weaviate:8080"
            )
        await self._postgres.require(PART)
        self._prepared = True


def _text(vector: Sequence[float]) -> str:
    return orjson.dumps([float(value) for value in vector]).decode()
