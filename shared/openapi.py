"""OpenAPI 3.1 from endpoints: the same models that validate."""

from collections.abc import Iterable
from typing import Any, Protocol

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.security import PUBLIC

_REF = "#/components/schemas/{model}"


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
    def returns(self) -> type[BaseModel] | None: ...
    @property
    def status(self) -> int: ...


def describe(name: str, description: str, endpoints: Iterable[Described]) -> dict[str, Any]:
    """The OpenAPI document of one service."""
    endpoints = list(endpoints)
    schemas = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(name, endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Looma AI: {name}", "version": "1", "description": description},
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _schemas(endpoints: list[Described]) -> dict[str, Any]:
    models = {
        (model, mode)
        for endpoint in endpoints
        for model, mode in ((endpoint.body, "validation"), (endpoint.returns, "serialization"))
        if model is not None
    }
    ordered: Any = sorted(models, key=lambda pair: (pair[0].__name__, pair[1]))
    _, document = models_json_schema(ordered, ref_template=_REF)
    return dict(document.get("$defs", {}))


def _operation(service: str, endpoint: Described) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "tags": [service],
        "x-scope": endpoint.scope,
        "parameters": _parameters(endpoint),
        "responses": {
            str(endpoint.status): {
                "description": "Success",
                "content": {"application/json": {"schema": _envelope(endpoint.returns)}},
            },
            "default": {
                "description": "Failure",
                "content": {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}},
            },
        },
    }
    if endpoint.scope != PUBLIC:
        operation["security"] = [{"bearer": []}, {"apiKey": []}]
    if endpoint.body is not None:
        schema = {"$ref": _REF.format(model=endpoint.body.__name__)}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _parameters(endpoint: Described) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema(ref_template=_REF)
        required = set(schema.get("required", ()))
        for name, field in schema.get("properties", {}).items():
            parameter = {"name": name, "in": "query", "required": name in required, "schema": field}
            if "description" in field:
                parameter["description"] = field["description"]
            parameters.append(parameter)
    return parameters


def _envelope(data: type[BaseModel] | None) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=data.__name__)} if data is not None else {}
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
