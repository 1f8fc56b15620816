"""Whatever a caller sends to whichever route, no answer is a 5xx. Routes come from the document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.real_services import RealServices, operations

Request = tuple[str, str, bytes | None]  # method, target, JSON

WORDS = (
    "%ff", "%00", "a%0Ab", "%7f", "%ed%a0%bd", "%F0%9F%98%80", "%2F", "..", "", "x" * 3000,
    "9" * 25, "-1", "1e400", "NaN", "%D9%A3", "%27%3B--", "null",
    "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00%2B14:00", "9999-12-31", "0001-01-01",
    "2016-12-31T23:59:60Z", "9999-W53", "0000-01",
)  # fmt: skip
VALUES = (
    "null", "true", "[]", "{}", "0.0", "-1", "1e400", "-1e400", "NaN", "Infinity",
    "99999999999999999999", "9" * 5000, '""', '"\\u0000"', '"a\\u0001b"', '"a\\nb"', '"\\ud83d"',
    '"\\ufeff"', '"' + "x" * 5000 + '"', '{"a":1,"a":2}', '{"a\\u0001b":1}', '{"\\ud83d":1}',
    "[" * 150 + "]" * 150, "[" * 5000 + "]" * 5000, '"9999-12-31T23:59:59-12:00"',
    '"0001-01-01T00:00:00+14:00"', '"9999-12-31"', "[99999999999999999999]", "[[1e400]]",
    '[{"a\\u0000b": 1}]', '[{"x": 99999999999999999999, "x": "\\ud83d"}]',
)  # fmt: skip
CONCURRENCY = 8


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A small value of about this shape."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return example(schema[several][0], schemas)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            return {name: example(schema["properties"][name], schemas) for name in required}
        case "array":
            return [example(schema.get("items", {}), schemas)]
        case "string":
            return "2030-01-01T00:00:00Z" if schema.get("format") == "date-time" else "x"
        case "integer" | "number":
            return schema.get("minimum", 1)
    return None


def bodies(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each field that a body of this operation may have, with the others filled in."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return
    schema = content["application/json"]["schema"]
    whole = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    filled = example(whole, schemas) if "properties" in whole else {}  # a file: any object
    for name in (*whole.get("properties", ()), "no_such_field", "a\\u0001b"):
        yield name, {key: value for key, value in filled.items() if key != name}


def with_field(name: str, text: str, rest: dict[str, Any]) -> bytes:
    """The object `rest` with one more field, whose value is written as `text`."""
    others = orjson.dumps(rest)[1:]
    return f'{{"{name}":{text}'.encode() + (b"," if len(rest) else b"") + others


def paths(path: str, operation: dict[str, Any], words: tuple[str, ...]) -> Iterator[str]:
    names = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
    plain = path
    for name in names:
        plain = plain.replace(f"{{{name}}}", "00000000-0000-4000-8000-000000000000")
        yield from (path.replace(f"{{{name}}}", word) for word in words)
    needed = "&".join(
        f"{one['name']}=x"
        for one in operation["parameters"]
        if one["in"] == "query" and one["required"]
    )
    yield f"{plain}?{needed}"
    for one in operation["parameters"]:
        if one["in"] == "query":
            rest = "&".join(part for part in needed.split("&") if part != f"{one['name']}=x")
            yield from (f"{plain}?{one['name']}={word}&{rest}" for word in words)
    yield from (f"{plain}?{needed}&{word}={word}" for word in words)


def requests(
    document: dict[str, Any], words: tuple[str, ...], values: tuple[str, ...]
) -> Iterator[Request]:
    schemas = document["components"]["schemas"]
    for method, path, operation in operations(document):
        targets = list(paths(path, operation, words))
        fields = list(bodies(operation, schemas))
        for target in targets:
            yield method, target, orjson.dumps(fields[0][1]) if fields else None
        target = next(one for one in targets if "0000-4000" in one or "{" not in path)
        for text in values if fields else ():
            yield method, target, text.encode()
        for name, rest in fields:
            yield from ((method, target, with_field(name, text, rest)) for text in values)


async def failures(services: RealServices, sent: list[Request]) -> list[str]:
    """What was answered with 5xx, in words."""
    wrong: list[str] = []
    waiting = iter(sent)

    async def work(client: httpx.AsyncClient) -> None:
        for method, target, body in waiting:
            url = httpx.URL(services.url).copy_with(raw_path=target.encode())
            headers = {"Content-Type": "application/json"} if body is not None else {}
            answer = await client.request(method, url, content=body, headers=headers)
            if answer.status_code >= 500:
                wrong.append(f"{method} {target[:200]} {(body or b'')[:200]!r}: {answer.text}")

    async with services.client() as client:
        await asyncio.gather(*(work(client) for _ in range(CONCURRENCY)))
    return wrong


async def described(services: RealServices) -> dict[str, Any]:
    async with services.client() as client:
        document: dict[str, Any] = (await client.get("/openapi.json")).json()
    assert len(operations(document)) > 30
    return document


@pytest.mark.slow
async def test_no_value_in_any_place_is_a_defect(whole: RealServices) -> None:
    sent = list(requests(await described(whole), WORDS, VALUES))
    assert await failures(whole, sent) == []


TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=4, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(value=JSON, word=TEXTS)
async def test_no_drawn_value_is_a_defect(whole: RealServices, value: Any, word: str) -> None:
    # The standard library writes all of these: NaN, half pairs, numbers of any length.
    quoted = "".join(f"%{byte:02x}" for byte in word.encode("utf-8", "surrogatepass"))
    sent = list(requests(await described(whole), (quoted,), (json.dumps(value),)))
    assert await failures(whole, sent) == []
