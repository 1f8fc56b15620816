"""One description out of many, and the page that shows it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from gateway.api_docs.docs_page import DocsPage
from gateway.api_docs.html import Html, join, tag
from gateway.api_docs.openapi import is_description, merge, references
from gateway.api_docs.schema_text import example, type_text
from gateway.routing.route import Route
from tests.gateway.conftest import Platform
from tests.gateway.wire import until

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


def test_markup_escapes_everything_but_markup() -> None:
    assert tag("p", "<b>&\"'", tag("br"), title='"><script>') == (
        '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;&quot;&#x27;<br></p>'
    )
    assert join("a<", Html("<i>")) == "a&lt;<i>"


def test_types_are_told_in_words() -> None:
    assert type_text({"type": "integer", "minimum": 1, "maximum": 9}) == "integer, ≥ 1, ≤ 9"
    assert type_text({"type": "array", "items": {"type": "string"}}) == "list of string"
    assert type_text({"anyOf": [{"type": "string"}, {"type": "null"}]}) == "string or null"
    assert type_text({"enum": ["a", "<b>"]}) == "one of a, &lt;b&gt;"
    assert type_text({"type": "string", "format": "uuid"}) == "string (uuid)"
    assert type_text(ref("X")) == '<a href="#schema-X">X</a>'
    assert type_text({}) == "anything"
    assert type_text(True) == "<span>anything</span>"


def test_an_example_body_has_the_right_shape_and_ends_for_recursive_schemas() -> None:
    document = {
        "components": {
            "schemas": {
                "Tree": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "at": {"type": "string", "format": "date"},
                        "children": {"type": "array", "items": ref("Tree")},
                    },
                }
            }
        }
    }
    assert example(document, ref("Tree")).startswith('{\n  "name": "",\n  "at": "2024-12-04"')


class Seen(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}</textarea></style>"


def test_the_page_shows_hostile_text_as_text() -> None:
    evil_field = {"description": EVIL, "default": EVIL, "enum": [EVIL], "pattern": EVIL}
    document = {
        "paths": {
            "/b": {
                "get": operation(
                    "Page", summary=EVIL, description=EVIL,
                    parameters=[
                        {"name": EVIL, "in": "query", "description": EVIL, "schema": evil_field}
                    ],
                    requestBody={"content": {EVIL: {"schema": ref("Page")}}},
                )
            }
        },
        "components": {
            "schemas": {"Page": {"type": "object", "description": EVIL, "properties": {EVIL: evil_field}}}
        },
    }  # fmt: skip
    page = DocsPage().render(merge({"portrait": document}, ROUTES))
    seen = Seen(page)
    assert [name for name, _ in seen.elements].count("script") == 1
    assert "img" not in [name for name, _ in seen.elements]
    assert not [attrs for _, attrs in seen.elements for key in attrs if key.startswith("on")]
    assert "&lt;script&gt;alert(1)" in page


async def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_else(
    platform: Platform,
) -> None:
    platform.auth.openapi = {
        "paths": {"/api/v1/auth/me": {"get": operation("Me")}},
        "components": {"schemas": {"Me": {"type": "object", "properties": {"role": {}}}}},
    }

    async def shown() -> bool:
        return "/api/v1/auth/me" in (await platform.client.get("/docs")).text

    await until(shown, 12)
    got = await platform.client.get("/docs")
    assert got.status_code == 200
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    policy = got.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind, element in (("script-src", "script"), ("style-src", "style")):
        (source,) = re.findall(rf"<{element}>(.*?)</{element}>", got.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    seen = Seen(got.text)
    for name, attrs in seen.elements:
        assert name not in ("link", "iframe", "img", "object", "base")
        assert "style" not in attrs
        assert "src" not in attrs
        assert (attrs.get("href") or "#").startswith("#")


async def test_the_merged_description_comes_over_the_wire(platform: Platform) -> None:
    got = await platform.client.get("/openapi.json")
    document = got.json()
    assert got.headers["content-type"] == "application/json"
    assert document["openapi"] == "3.1.0"
    assert set(references(document)) <= set(document["components"]["schemas"])
