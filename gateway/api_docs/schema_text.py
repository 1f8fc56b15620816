"""JSON Schema in a few words, and a first body to start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.api_docs.html import Html, join, tag

_LIMITS: Final = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "exclusiveMinimum": "> {}",
    "exclusiveMaximum": "< {}",
    "minLength": "{} or more characters",
    "maxLength": "at most {} characters",
    "minItems": "{} or more items",
    "maxItems": "at most {} items",
    "pattern": "like {}",
    "default": "default {}",
}
_DEPTH: Final = 4
_SAMPLES: Final = {
    "uuid": "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11",
    "date-time": "2024-12-04T09:30:00+08:00",
    "date": "2024-12-04",
    "email": "ops@example.com",
}


def type_text(schema: object) -> Html:
    """'integer, ≥ 1', 'list of <a>Call</a>', 'text or null'."""
    if not isinstance(schema, Mapping):
        return tag("span", "anything" if schema else "")
    limits = [
        form.format(schema[key]) for key, form in _LIMITS.items() if schema.get(key) is not None
    ]
    return join(_kind(schema), *(f", {limit}" for limit in limits))


def _kind(schema: Mapping[str, Any]) -> Html:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return tag("a", name, href=f"#schema-{name}")
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _joined([type_text(one) for one in schema[choice]], " or ")
    if "allOf" in schema:
        return _joined([type_text(one) for one in schema["allOf"]], " and ")
    if "enum" in schema:
        return join("one of ", ", ".join(map(str, schema["enum"])))
    if "const" in schema:
        return join(f"always {schema['const']}")
    if schema.get("type") == "array":
        return join("list of ", type_text(schema.get("items", {})))
    kind = schema.get("type", "anything")
    words = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    return join(f"{words} ({schema['format']})" if "format" in schema else words)


def _joined(parts: list[Html], between: str) -> Html:
    spaced = [item for part in parts for item in (between, part)]
    return join(*spaced[1:])


def example(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A body of the right shape as indented JSON."""
    return json.dumps(_sample(document, schema, _DEPTH), indent=2, ensure_ascii=False)


def _sample(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> Any:
    if depth == 0 or not isinstance(schema, Mapping):
        return None
    for known in ("default", "const"):
        if known in schema:
            return schema[known]
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return _sample(document, document["components"]["schemas"].get(name, {}), depth)
    for choice in ("anyOf", "oneOf", "enum"):
        if schema.get(choice):
            first = schema[choice][0]
            return first if choice == "enum" else _sample(document, first, depth)
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {name: _sample(document, one, depth - 1) for name, one in fields.items()}
        case "array":
            return [_sample(document, schema.get("items", {}), depth - 1)]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "string":
            return _SAMPLES.get(str(schema.get("format")), "")
        case _:
            return None
