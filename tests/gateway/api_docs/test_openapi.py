"""One description out of many."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api_docs.openapi import is_description, merge, references
from gateway.routing.route import Route
from tests.gateway.conftest import Platform

ROUTES = [
    Route("GET", "/a/{id}", "auth", "self"),
    Route("POST", "/a", "auth", "public"),
    Route("GET", "/b", "portrait", "portrait:read"),
    Route("GET", "/gone", "enrichment", "self"),
]


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def operation(returns: str, **more: Any) -> dict[str, Any]:
    return {
        "summary": "s", "tags": ["x"], "x-scope": "forged", "security": [],
        "responses": {"200": {"content": {"application/json": {"schema": ref(returns)}}}}, **more,
    }  # fmt: skip


AUTH = {
    "paths": {
        "/a/{id}": {"get": operation("Page", operationId="get")},
        "/a": {"post": operation("Only")},
        "/internal/v1/x": {"get": operation("Secret")},
    },
    "components": {
        "schemas": {
            "Page": {"type": "object", "properties": {"items": {"items": ref("Item")}}},
            "Item": {"type": "string"},
            "Error": {"type": "object"},
            "Only": {"properties": {"e": ref("Error")}},
            "Secret": {"type": "string"},
        }
    },
}
PORTRAIT = {
    "paths": {"/b": {"get": operation("Page")}, "/c": {"get": operation("Item")}},
    "components": {
        "schemas": {
            "Page": {"type": "object", "properties": {"items": {"items": ref("Item")}}},
            "Item": {"type": "integer"},
            "Error": {"type": "object"},
        }
    },
}


def test_only_routed_operations_are_described_with_the_tables_scope() -> None:
    merged = merge({"auth": AUTH, "portrait": PORTRAIT}, ROUTES)
    assert set(merged["paths"]) == {"/a/{id}", "/a", "/b"}
    got = merged["paths"]["/a/{id}"]["get"]
    assert (got["x-scope"], got["tags"], got["operationId"]) == ("self", ["auth"], "auth.get")
    assert got["security"]
    assert merged["paths"]["/a"]["post"]["security"] == []
    assert merged["info"]["x-missing-services"] == ["enrichment"]
    assert AUTH["paths"]["/a/{id}"]["get"]["x-scope"] == "forged"  # the source is left alone


def test_names_that_mean_different_things_get_their_services_name() -> None:
    """Page is written alike in both, but holds different Items."""
    schemas = merge({"auth": AUTH, "portrait": PORTRAIT}, ROUTES)["components"]["schemas"]
    assert set(schemas) == {
        "auth.Page", "auth.Item", "portrait.Page", "portrait.Item", "Only", "Error",
    }  # fmt: skip
    assert schemas["portrait.Page"]["properties"]["items"]["items"] == ref("portrait.Item")


def test_every_reference_leads_somewhere() -> None:
    merged = merge({"auth": AUTH, "portrait": PORTRAIT}, ROUTES)
    assert set(references(merged)) <= set(merged["components"]["schemas"])


@pytest.mark.parametrize(
    ("document", "good"),
    [
        ({"paths": {}}, True),
        (AUTH, True),
        (None, False),
        ([], False),
        ({}, False),
        ({"paths": []}, False),
        ({"paths": {"/a": []}}, False),
        ({"paths": {"/a": {"get": []}}}, False),
        ({"paths": {}, "components": []}, False),
        ({"paths": {}, "components": {"schemas": []}}, False),
    ],
)
def test_what_is_no_description_is_not_read(document: Any, good: bool) -> None:
    assert is_description(document) is good


async def test_the_merged_description_comes_over_the_wire(platform: Platform) -> None:
    got = await platform.client.get("/openapi.json")
    document = got.json()
    assert got.headers["content-type"] == "application/json"
    assert document["openapi"] == "3.1.0"
    assert set(references(document)) <= set(document["components"]["schemas"])
