"""OpenAPI 3.1 from endpoints: the same models that validate."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, Protocol

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.security import PUBLIC

_REF = "#/components/schemas/{model}"
# What the gateway refuses in a path, and every service in a query: see gateway/http/path.py.
_PATH_TEXT = r"^[^\x00-\x1f\x7f/\\]+$"
_QUERY_TEXT = r"^[^\x00-\x1f]*$"


FailureSchema = Literal["Error", "OpenAIError"]  # ours, or that of OpenAI's clients


class Described(Protocol):
    """What a description needs of an endpoint."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def query(self) -> type[BaseModel] | None: ...
    @property
    def body(self) -> type[BaseModel] | None: ...
    @property
    def takes(self) -> Sequence[str]: ...
    @property
    def returns(self) -> type[BaseModel] | None: ...
    @property
    def status(self) -> int: ...
    @property
    def waited(self) -> type[BaseModel] | None: ...
    @property
    def enveloped(self) -> bool: ...
    @property
    def sends(self) -> Sequence[str]: ...
    @property
    def failure_schema(self) -> FailureSchema: ...


def describe(name: str, description: str, endpoints: Iterable[Described]) -> dict[str, Any]:
    """The OpenAPI document of one service."""
    endpoints = list(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation(name, endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Looma AI: {name}", "version": "1", "description": description},
        "paths": paths,
        "components": {
            "schemas": schemas(endpoints),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def schemas(endpoints: Iterable[Described]) -> dict[str, Any]:
    """Name → schema of every model that operations of `endpoints` refer to."""
    endpoints = list(endpoints)
    models = {
        (model, mode)
        for endpoint in endpoints
        for model, mode in (
            (endpoint.body, "validation"),
            (endpoint.returns, "serialization"),
            (endpoint.waited, "serialization"),
        )
        if model is not None
    }
    ordered: Any = sorted(models, key=lambda pair: (pair[0].__name__, pair[1]))
    _, document = models_json_schema(ordered, ref_template=_REF)
    return {
        **document.get("$defs", {}),
        **{name: _FAILURES[name] for name in ["Error", *(one.failure_schema for one in endpoints)]},
    }


def operation(service: str, endpoint: Described) -> dict[str, Any]:
    """One endpoint: its parameters, its body, and every answer that it may give."""
    described: dict[str, Any] = {
        "summary": endpoint.summary,
        "tags": [service],
        "x-scope": endpoint.scope,
        "parameters": _parameters(endpoint),
        "responses": {
            **_successes(endpoint),
            **{
                status: _failure(meaning, endpoint.failure_schema)
                for status, meaning in _failures(endpoint)
            },
        },
    }
    if endpoint.scope != PUBLIC:
        described["security"] = [{"bearer": []}, {"apiKey": []}]
    if endpoint.body is not None:
        schema = {"$ref": _REF.format(model=endpoint.body.__name__)}
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if endpoint.takes:
        content = {
            media: {"schema": {"type": "string", "format": "binary"}} for media in endpoint.takes
        }
        described["requestBody"] = {"required": True, "content": content}
    return described


def _successes(endpoint: Described) -> dict[str, Any]:
    """Status → what is answered with it; the job that was started, or what came of it."""
    if endpoint.sends:
        content: dict[str, Any] = {media: {} for media in endpoint.sends}
        return {str(endpoint.status): {"description": "The file", "content": content}}
    answers = {endpoint.status: ("Success", endpoint.returns)}
    if endpoint.waited is not None:
        answers[endpoint.status] = (
            "The job, under way; `Location` is its address",
            endpoint.returns,
        )
        answers[200] = ("The job has ended within `Prefer: wait=N`", endpoint.waited)
    return {
        str(status): {
            "description": meaning,
            "content": {"application/json": {"schema": _answer(data, endpoint.enveloped)}},
        }
        for status, (meaning, data) in answers.items()
    }


def _failures(endpoint: Described) -> Iterator[tuple[str, str]]:
    """Status → what it means here; those that any request may get stand under `default`."""
    yield "400", "Not well-formed: HTTP, JSON or UTF-8"
    if endpoint.scope != PUBLIC:
        yield "401", "No valid token or API key"
        yield "403", "The role lacks the scope"
    if "{" in endpoint.path:
        yield "404", "No such thing in your organisation"
    if endpoint.method in ("POST", "PATCH"):
        yield "409", "Contradicts what is there, or an Idempotency-Key that was used before"
    if endpoint.body is not None or endpoint.takes:
        yield "413", "The body is larger than this route takes"
        yield "415", "The body is of no kind that this route takes, or of another coding"
    if endpoint.body is not None or endpoint.query is not None or endpoint.takes:
        yield "422", "A value is wrong: `details` names field, problem and fix"
    yield "429", "Over a rate limit; `Retry-After` says when to come back"
    yield "503", "What is needed is away; `Retry-After` says when to come back"
    yield "504", "No answer in time"
    yield "default", "Failure"


def _failure(meaning: str, model: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model)}
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


def _parameters(endpoint: Described) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    text = {"type": "string", "minLength": 1, "pattern": _PATH_TEXT}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in names
    ]
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema(ref_template=_REF)
        required = set(schema.get("required", ()))
        for name, field in schema.get("properties", {}).items():
            parameter = {
                "name": name, "in": "query", "required": name in required, "schema": _in_query(field)
            }  # fmt: skip
            if "description" in field:
                parameter["description"] = field["description"]
            parameters.append(parameter)
    return parameters


def _in_query(field: dict[str, Any]) -> dict[str, Any]:
    """A field as a query string can carry it: never null, no control characters in a text."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
        field = {**rest, **kinds[0]}
    if field.get("type") == "string" and not {"enum", "const", "format", "pattern"} & set(field):
        return {**field, "pattern": _QUERY_TEXT}
    return field


def _answer(data: type[BaseModel] | None, enveloped: bool) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=data.__name__)} if data is not None else {}
    if not enveloped:
        return schema
    return {
        "type": "object",
        "required": ["code", "data", "request_id"],
        "properties": {
            "code": {"const": 0},
            "data": schema,
            "request_id": {"type": "string", "format": "uuid"},
        },
    }


_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["code", "error", "message", "details", "request_id"],
    "properties": {
        "code": {"type": "integer"},
        "error": {"type": "string"},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "problem", "fix"],
                "properties": {
                    "field": {"type": "string"},
                    "problem": {"type": "string"},
                    "fix": {"type": "string"},
                },
            },
        },
        "request_id": {"type": "string", "format": "uuid"},
    },
}
_OPENAI_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code", "request_id"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "request_id": {"type": "string"},
            },
        }
    },
}
_FAILURES: Final[dict[FailureSchema, Any]] = {"Error": _ERROR, "OpenAIError": _OPENAI_ERROR}
