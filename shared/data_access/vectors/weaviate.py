"""The vector port on Weaviate.

One Weaviate collection per collection and model version, because vectors of two models have
different dimensions and may not be compared; one tenant per organisation in each, so that an
organisation has an index of its own: nothing of another can be found in it, and filters don't have
to search past other organisations' vectors.

For the URL see weaviate_server.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid5

import orjson
import weaviate
from weaviate import exceptions
from weaviate.classes.config import (
    Configure,
    DataType,
    Property,
    Tokenization,
    VectorDistances,
)
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter, MetadataQuery

from shared.data_access.guard import Guard
from shared.data_access.ports import VectorHit, VectorItem
from shared.data_access.vectors.vector_input import check_vector
from shared.data_access.vectors.weaviate_errors import DRIVER_ERRORS, WEAVIATE
from shared.data_access.vectors.weaviate_server import WeaviateServer

_READ_SECONDS = 2.0
_WRITE_SECONDS = 30.0
_BATCH = 500
_NAMESPACE = UUID("6c6f6f6d-6100-4000-8000-766563746f72")
_ITEM_ID, _TAGS, _DOCUMENT, _LENGTH = "item_id", "tags", "document", "length"
_VECTOR = "embedding"

Scalar = str | int | float | bool


class WeaviateVectors:
    """Vectors over one lazily connected client."""

    def __init__(self, url: str) -> None:
        self._server = WeaviateServer(url)
        self._client: weaviate.WeaviateAsyncClient | None = None
        self._connecting = asyncio.Lock()
        self.guard = Guard(WEAVIATE, self._probe)
        self._known: set[str] = set()  # Weaviate collections that exist; none is ever removed

    async def upsert(
        self, org_id: UUID, collection: str, model_version: str, items: Sequence[VectorItem]
    ) -> None:
        for item in items:
            check_vector(item.vector)
        if not items:
            return
        latest = list({item.id: item for item in items}.values())
        name = _class(collection, model_version)
        target = await self._made(name, org_id)
        for start in range(0, len(latest), _BATCH):
            objects = [_object(item) for item in latest[start : start + _BATCH]]
            async with self.guard.call(_WRITE_SECONDS, "insert_many", name):
                result = await target.data.insert_many(objects)
            if result.has_errors:
                first = next(iter(result.errors.values()))
                raise WEAVIATE.error(exceptions.WeaviateBatchError(first.message))

    async def search(
        self,
        org_id: UUID,
        collection: str,
        model_version: str,
        vector: Sequence[float],
        *,
        limit: int = 10,
        where: Mapping[str, Scalar] | None = None,
    ) -> list[VectorHit]:
        check_vector(vector)
        name = _class(collection, model_version)
        target = await self._existing(name, org_id)
        if target is None:
            return []
        filters = Filter.by_property(_TAGS).contains_all(_tags(where)) if where else None
        async with self.guard.call(_READ_SECONDS, "near_vector", name):
            found = await target.query.near_vector(
                near_vector=[float(value) for value in vector],
                target_vector=_VECTOR,
                limit=limit,
                filters=filters,
                return_metadata=MetadataQuery(distance=True),
                return_properties=[_ITEM_ID, _DOCUMENT],
            )
        hits = [
            VectorHit(
                item.properties[_ITEM_ID],
                1.0 - item.metadata.distance,
                orjson.loads(item.properties[_DOCUMENT]),
            )
            for item in found.objects
        ]
        return sorted(hits, key=lambda hit: (-hit.similarity, hit.id))

    async def get(
        self, org_id: UUID, collection: str, model_version: str, ids: Sequence[str]
    ) -> dict[str, VectorItem]:
        name = _class(collection, model_version)
        target = await self._existing(name, org_id)
        if target is None:
            return {}
        found: dict[str, VectorItem] = {}
        for start in range(0, len(ids), _BATCH):
            wanted = [_uuid(item_id) for item_id in ids[start : start + _BATCH]]
            async with self.guard.call(_READ_SECONDS, "fetch_objects", name):
                page = await target.query.fetch_objects(
                    filters=Filter.by_id().contains_any(wanted),
                    limit=len(wanted),
                    include_vector=[_VECTOR],
                )
            items = [_item(item.properties, item.vector[_VECTOR]) for item in page.objects]
            found |= {item.id: item for item in items}
        return found

    async def delete(self, org_id: UUID, collection: str, ids: Sequence[str]) -> None:
        for target in await self._all_versions(org_id, collection):
            for start in range(0, len(ids), _BATCH):
                gone = [_uuid(item_id) for item_id in ids[start : start + _BATCH]]
                async with self.guard.call(_WRITE_SECONDS, "delete_many", target.name):
                    await target.data.delete_many(where=Filter.by_id().contains_any(gone))

    async def count(self, org_id: UUID, collection: str, model_version: str) -> int:
        name = _class(collection, model_version)
        target = await self._existing(name, org_id)
        if target is None:
            return 0
        async with self.guard.call(_READ_SECONDS, "aggregate", name):
            result = await target.aggregate.over_all(total_count=True)
        return int(result.total_count or 0)

    async def clear(self, org_id: UUID, collection: str) -> None:
        for target in await self._all_versions(org_id, collection):
            async with self.guard.call(_WRITE_SECONDS, "tenants.remove", target.name):
                await target.tenants.remove([_tenant(org_id)])

    async def ping(self) -> None:
        await self.guard.ask()
        client = await self._connected()
        async with self.guard.call(_READ_SECONDS, "meta"):
            await client.get_meta()
            if not await self._server.grpc_answers():
                raise WEAVIATE.unavailable("HTTP is answered, gRPC isn't")

    async def close(self) -> None:
        await self.guard.close()
        client, self._client = self._client, None
        if client is not None:
            with suppress(*DRIVER_ERRORS, OSError):
                await client.close()

    # -- collections and tenants -------------------------------------------------------------

    async def _existing(self, name: str, org_id: UUID) -> Any | None:
        """The organisation's part of a Weaviate collection, if both exist."""
        client = await self._connected()
        target = client.collections.use(name)
        async with self.guard.call(_READ_SECONDS, "tenants.exists", name):
            if name not in self._known and not await client.collections.exists(name):
                return None
            self._known.add(name)
            # Not remembered: another process may clear it at any time.
            exists = await target.tenants.exists(_tenant(org_id))
        return target.with_tenant(_tenant(org_id)) if exists else None

    async def _made(self, name: str, org_id: UUID) -> Any:
        """The same, the collection made where it is missing; the tenant comes by its first use."""
        client = await self._connected()
        if name not in self._known:
            async with self.guard.call(_WRITE_SECONDS, "collections.create", name):
                await self._make_collection(client, name)
            self._known.add(name)
        return client.collections.use(name).with_tenant(_tenant(org_id))

    async def _make_collection(self, client: weaviate.WeaviateAsyncClient, name: str) -> None:
        if await client.collections.exists(name):
            return
        try:
            await client.collections.create(
                name,
                multi_tenancy_config=Configure.multi_tenancy(
                    enabled=True, auto_tenant_creation=True, auto_tenant_activation=True
                ),
                vector_config=Configure.Vectors.self_provided(
                    name=_VECTOR,
                    vector_index_config=Configure.VectorIndex.hnsw(
                        distance_metric=VectorDistances.COSINE
                    ),
                ),
                properties=_schema(),
            )
        except exceptions.UnexpectedStatusCodeError:
            # Another process may have been first.
            if not await client.collections.exists(name):
                raise

    async def _all_versions(self, org_id: UUID, collection: str) -> list[Any]:
        """The organisation's parts of the Weaviate collections of every model version."""
        async with self.guard.call(_READ_SECONDS, "collections"):
            names = await self._server.collections()
        ours = [name for name in names if name.startswith(_prefix(collection))]
        parts = [await self._existing(name, org_id) for name in ours]
        return [part for part in parts if part is not None]

    # -- connection --------------------------------------------------------------------------

    async def _connected(self) -> weaviate.WeaviateAsyncClient:
        if self._client is not None:
            return self._client
        async with self.guard.call(_READ_SECONDS, "connect"), self._connecting:
            if self._client is None:
                client = self._server.client(read=_READ_SECONDS, write=_WRITE_SECONDS)
                try:
                    await client.connect()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def _probe(self) -> bool:
        """Over connections of its own: the client's may all be waited for."""
        return await self._server.answers()


def _schema() -> list[Property]:
    return [
        Property(
            name=_ITEM_ID,
            data_type=DataType.TEXT,
            tokenization=Tokenization.FIELD,
            index_searchable=False,
        ),
        # One "name=value" for each property: exact filters without a schema for each.
        Property(
            name=_TAGS,
            data_type=DataType.TEXT_ARRAY,
            tokenization=Tokenization.FIELD,
            index_searchable=False,
        ),
        Property(
            name=_DOCUMENT,
            data_type=DataType.TEXT,
            index_filterable=False,
            index_searchable=False,
        ),
        Property(name=_LENGTH, data_type=DataType.NUMBER, index_filterable=False),
    ]


def _object(item: VectorItem) -> DataObject[dict[str, Any], None]:
    vector = [float(value) for value in item.vector]
    return DataObject(
        uuid=_uuid(item.id),
        vector={_VECTOR: vector},
        properties={
            _ITEM_ID: item.id,
            _TAGS: _tags(item.properties),
            _DOCUMENT: orjson.dumps(dict(item.properties)).decode(),
            _LENGTH: math.hypot(*vector),
        },
    )


def _item(properties: Mapping[str, Any], vector: Sequence[float]) -> VectorItem:
    """Weaviate may give back the direction of a vector only: bring it to its length again."""
    scale = properties[_LENGTH] / math.hypot(*vector)
    return VectorItem(
        properties[_ITEM_ID],
        [value * scale for value in vector],
        orjson.loads(properties[_DOCUMENT]),
    )


def _tags(properties: Mapping[str, Scalar]) -> list[str]:
    return [f"{name}={_canonical(value)}" for name, value in properties.items()]


def _canonical(value: Scalar) -> str:
    """1 and 1.0 are the same number, true is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return orjson.dumps(value).decode()


def _prefix(collection: str) -> str:
    return f"Looma_{_digest(collection)}_"


def _class(collection: str, model_version: str) -> str:
    """Weaviate's name: it allows letters, digits and _ only, and changes the case of the first."""
    return _prefix(collection) + _digest(model_version)


def _tenant(org_id: UUID) -> str:
    return org_id.hex


def _uuid(item_id: str) -> UUID:
    return uuid5(_NAMESPACE, item_id)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
