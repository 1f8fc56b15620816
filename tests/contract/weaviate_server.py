"""As much of Weaviate's REST and gRPC protocols as the adapter speaks, in memory.

It proves that the adapter's requests are well formed and its error handling right. That Weaviate
understands them the same way is proved by TEST_WEAVIATE_URL only.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import grpc
from aiohttp import web
from weaviate.proto.v1 import (
    aggregate_pb2,
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    properties_pb2,
    search_get_pb2,
    tenants_pb2,
    weaviate_pb2_grpc,
)

Item = dict[str, Any]  # uuid, vector, properties


class WeaviateServer(weaviate_pb2_grpc.WeaviateServicer):
    """`fail_with`, when set, is the status that every gRPC call ends with."""

    def __init__(self) -> None:
        self.classes: dict[str, dict[str, dict[str, Item]]] = {}
        self.schemas: dict[str, Mapping[str, Any]] = {}
        self.fail_with: grpc.StatusCode | None = None
        self.url = ""
        app = web.Application()
        app.router.add_get("/v1/meta", self._meta)
        app.router.add_get("/v1/schema", self._list)
        app.router.add_post("/v1/schema", self._create)
        app.router.add_get("/v1/schema/{name}", self._show)
        app.router.add_get("/v1/schema/{name}/tenants/{tenant}", self._has_tenant)
        app.router.add_delete("/v1/schema/{name}/tenants", self._remove_tenants)
        self._runner = web.AppRunner(app)
        self._grpc: grpc.aio.Server | None = None

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._grpc = grpc.aio.server()
        weaviate_pb2_grpc.add_WeaviateServicer_to_server(self, self._grpc)
        grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        await self._grpc.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://:key@127.0.0.1:{port}?grpc=127.0.0.1:{grpc_port}"

    async def stop(self) -> None:
        assert self._grpc is not None
        await self._grpc.stop(0)
        await self._runner.cleanup()

    # -- REST --------------------------------------------------------------------------------

    async def _meta(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer key"
        return web.json_response({"version": "1.33.0", "hostname": "x", "modules": {}})

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response({"classes": list(self.schemas.values())})

    async def _create(self, request: web.Request) -> web.Response:
        schema = await request.json()
        name = schema["class"]
        if name in self.classes:
            return web.json_response({"error": [{"message": "exists"}]}, status=422)
        tenancy = schema["multiTenancyConfig"]
        assert tenancy["enabled"]
        assert tenancy["autoTenantCreation"]
        assert schema["vectorConfig"]["embedding"]["vectorIndexConfig"]["distance"] == "cosine"
        for found in schema["properties"]:
            if found["dataType"][0].startswith("text") and found["name"] != "document":
                assert found["tokenization"] == "field"
        self.classes[name] = {}
        self.schemas[name] = schema
        return web.json_response(schema)

    async def _show(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        known = name in self.schemas
        return web.json_response(self.schemas.get(name), status=200 if known else 404)

    async def _has_tenant(self, request: web.Request) -> web.Response:
        tenants = self.classes.get(request.match_info["name"], {})
        return web.Response(status=200 if request.match_info["tenant"] in tenants else 404)

    async def _remove_tenants(self, request: web.Request) -> web.Response:
        for tenant in await request.json():
            self.classes[request.match_info["name"]].pop(tenant, None)
        return web.Response(status=200)

    # -- gRPC --------------------------------------------------------------------------------

    async def _items(self, request: Any, context: Any) -> dict[str, Item]:
        if self.fail_with is not None:
            await context.abort(self.fail_with, "a message that quotes a secret object")
        if request.tenant not in self.classes.get(request.collection, {}):
            await context.abort(grpc.StatusCode.UNKNOWN, "tenant not found")
        return self.classes[request.collection][request.tenant]

    async def TenantsGet(self, request: Any, context: Any) -> Any:
        tenants = self.classes[request.collection]
        names = [name for name in request.names.values if name in tenants]
        hot = tenants_pb2.TENANT_ACTIVITY_STATUS_ACTIVE
        return tenants_pb2.TenantsGetReply(
            tenants=[tenants_pb2.Tenant(name=name, activity_status=hot) for name in names]
        )

    async def BatchObjects(self, request: Any, context: Any) -> Any:
        if self.fail_with is not None:
            await context.abort(self.fail_with, "a message that quotes a secret object")
        for item in request.objects:
            tenant = self.classes[item.collection].setdefault(item.tenant, {})
            (vector,) = item.vectors
            assert vector.name == "embedding"
            properties = dict(item.properties.non_ref_properties)
            for array in item.properties.text_array_properties:
                properties[array.prop_name] = list(array.values)
            tenant[item.uuid] = {
                "uuid": item.uuid,
                "vector": floats(vector.vector_bytes),
                "properties": properties,
            }
        return batch_pb2.BatchObjectsReply()

    async def Search(self, request: Any, context: Any) -> Any:
        items = [
            item
            for item in (await self._items(request, context)).values()
            if not request.HasField("filters") or matches(request.filters, item)
        ]
        distances: dict[str, float] = {}
        if request.HasField("near_vector"):
            assert list(request.near_vector.targets.target_vectors) == ["embedding"]
            wanted = question(request.near_vector)
            distances = {item["uuid"]: 1 - cosine(wanted, item["vector"]) for item in items}
            items.sort(key=lambda item: distances[item["uuid"]])
        results = [
            result(item, distances.get(item["uuid"]), request.metadata.vectors)
            for item in items[: request.limit]
        ]
        return search_get_pb2.SearchReply(results=results)

    async def BatchDelete(self, request: Any, context: Any) -> Any:
        items = await self._items(request, context)
        gone = [key for key, item in items.items() if matches(request.filters, item)]
        for key in gone:
            del items[key]
        return batch_delete_pb2.BatchDeleteReply(matches=len(gone), successful=len(gone))

    async def Aggregate(self, request: Any, context: Any) -> Any:
        items = await self._items(request, context)
        single = aggregate_pb2.AggregateReply.Single(objects_count=len(items))
        return aggregate_pb2.AggregateReply(single_result=single)


def floats(raw: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def question(near: Any) -> list[float]:
    if near.vector_bytes:
        return floats(near.vector_bytes)
    if near.vectors:
        return floats(near.vectors[0].vector_bytes)
    return floats(near.vector_for_targets[0].vectors[0].vector_bytes)


def cosine(first: list[float], second: list[float]) -> float:
    dot = sum(a * b for a, b in zip(first, second, strict=True))
    return dot / (math.hypot(*first) * math.hypot(*second))


def matches(filters: Any, item: Item) -> bool:
    field = filters.target.property or filters.on[0]
    values = set(filters.value_text_array.values)
    if field == "_id":
        assert filters.operator == base_pb2.Filters.OPERATOR_CONTAINS_ANY
        return item["uuid"] in values
    assert field == "tags"
    assert filters.operator == base_pb2.Filters.OPERATOR_CONTAINS_ALL
    return values <= set(item["properties"].get("tags", ()))


def result(item: Item, distance: float | None, vectors: Any) -> Any:
    fields = {}
    for name, value in item["properties"].items():
        if isinstance(value, list):
            continue
        kind = "number_value" if isinstance(value, float) else "text_value"
        fields[name] = properties_pb2.Value(**{kind: value})
    length = math.hypot(*item["vector"])  # Weaviate keeps the direction only
    unit = [value / length for value in item["vector"]]
    metadata = search_get_pb2.MetadataResult(
        id=item["uuid"],
        distance=distance or 0.0,
        distance_present=distance is not None,
        vectors=[
            base_pb2.Vectors(
                name=name,
                vector_bytes=struct.pack(f"<{len(unit)}f", *unit),
                type=base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32,
            )
            for name in vectors
        ],
    )
    properties = search_get_pb2.PropertiesResult(
        non_ref_props=properties_pb2.Properties(fields=fields)
    )
    return search_get_pb2.SearchResult(metadata=metadata, properties=properties)
