"""The page at /docs: the merged OpenAPI document for people, in one file without any other.

Rendered here, so that it works without scripts but for trying a request. The policy lets run what
is in docs.js and nothing else, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.api_docs.html import Html, join, tag
from gateway.api_docs.schema_text import example, type_text

Operation = Mapping[str, Any]
_BODIES: Final = ("post", "put", "patch")


class DocsPage:
    """Reads its script and style once; `policy` is the Content-Security-Policy that fits them."""

    def __init__(self) -> None:
        self._script = Path(__file__).with_name("docs.js").read_text("utf-8")
        self._style = Path(__file__).with_name("docs.css").read_text("utf-8")
        self.policy = (
            f"default-src 'none'; script-src '{_hash(self._script)}'; "
            f"style-src '{_hash(self._style)}'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def render(self, document: Mapping[str, Any]) -> str:
        title = document["info"]["title"]
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            Html(f"<style>{self._style}</style>"),
        )
        body = tag(
            "body", _header(title), _groups(document), _models(document),
            Html(f"<script>{self._script}</script>"),
        )  # fmt: skip
        return f"<!doctype html>{tag('html', head, body, lang='en')}"


def _header(title: str) -> Html:
    return tag(
        "header",
        tag("h1", title),
        tag(
            "p",
            tag("label", "Access token or API key", for_="token"),
            tag("input", id="token", type="password", autocomplete="off", spellcheck="false"),
            tag("label", "Filter", for_="filter"),
            tag("input", id="filter", type="search", autocomplete="off"),
        ),
        tag("p", "The token stays on this page and is sent with the requests you try."),
    )


def _groups(document: Mapping[str, Any]) -> Html:
    groups: defaultdict[str, list[Html]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]].append(_operation(document, path, method, operation))
    return tag(
        "main",
        *(tag("section", tag("h2", group), *shown) for group, shown in sorted(groups.items())),
    )


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Operation) -> Html:
    return tag(
        "details",
        tag(
            "summary",
            tag("b", method.upper(), class_=f"method {method}"),
            tag("code", path),
            tag("span", operation.get("summary", "")),
            tag("i", operation["x-scope"], class_="scope", title="scope that the caller needs"),
        ),
        _prose(operation),
        _parameters(operation),
        _body(document, operation),
        _answers(operation),
        _try(document, path, method, operation),
        class_="operation",
        data_text=f"{method} {path} {operation.get('summary', '')}".lower(),
    )


def _prose(described: Mapping[str, Any]) -> Html:
    words = described.get("description")
    return tag("p", words) if words else Html()


def _parameters(operation: Operation) -> Html:
    rows = [
        tag(
            "tr",
            tag("td", tag("code", item.get("name", ""))),
            tag("td", item.get("in", "")),
            tag("td", type_text(item.get("schema", {}))),
            tag("td", "required" if item.get("required") else ""),
            tag("td", item.get("description", "")),
        )
        for item in operation.get("parameters", ())
    ]
    return join(tag("h3", "Parameters"), tag("table", *rows)) if rows else Html()


def _body(document: Mapping[str, Any], operation: Operation) -> Html:
    schema = _content(operation.get("requestBody", {}))
    if schema is None:
        return Html()
    return join(tag("h3", "Body"), _properties(_resolved(document, schema)))


def _answers(operation: Operation) -> Html:
    shown = [
        join(
            tag("h3", f"Answer {status}"),
            _prose(answer),
            _properties(_content(answer) or {}),
        )
        for status, answer in operation.get("responses", {}).items()
    ]
    return join(*shown)


def _properties(schema: Mapping[str, Any]) -> Html:
    properties = schema.get("properties")
    if not properties:
        return tag("p", type_text(schema))
    required = set(schema.get("required", ()))
    return tag(
        "table",
        *(
            tag(
                "tr",
                tag("td", tag("code", name)),
                tag("td", type_text(field)),
                tag("td", "required" if name in required else ""),
                tag("td", field.get("description", "")),
            )
            for name, field in properties.items()
        ),
    )


def _try(document: Mapping[str, Any], path: str, method: str, operation: Operation) -> Html:
    fields = [
        tag(
            "p",
            tag(
                "label",
                tag("span", item["name"]),
                tag(
                    "input",
                    name=item["name"],
                    data_in=item["in"],
                    autocomplete="off",
                    required="required" if item.get("required") else None,
                ),
            ),
        )
        for item in operation.get("parameters", ())
    ]
    schema = _content(operation.get("requestBody", {}))
    if method in _BODIES:
        start = "" if schema is None else example(document, schema)
        fields.append(
            tag("textarea", start, name="body", rows="8", spellcheck="false", aria_label="Body")
        )
    return tag(
        "form", tag("h3", "Try it"), *fields, tag("button", "Send"), tag("pre", class_="result"),
        data_method=method.upper(), data_path=path,
    )  # fmt: skip


def _models(document: Mapping[str, Any]) -> Html:
    return tag(
        "section",
        tag("h2", "Schemas"),
        *(
            tag(
                "details",
                tag("summary", tag("code", name)),
                _prose(schema),
                _properties(schema),
                id=f"schema-{name}",
            )
            for name, schema in document["components"]["schemas"].items()
        ),
    )


def _content(holder: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the first media type."""
    return next(_media_schemas(holder), None)


def _media_schemas(holder: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for media in holder.get("content", {}).values():
        if "schema" in media:
            yield media["schema"]


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"].get(name, schema)
    return found


def _hash(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"
