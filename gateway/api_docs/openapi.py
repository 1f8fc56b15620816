"""One OpenAPI document out of those of the services: what is routed, and nothing else.

Scopes are those of the route table. A schema name that two services use for different things
becomes `service.Name`, and so does what refers to it; schemas that nothing refers to are left out.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.routing.route import Route
from shared.security import PUBLIC

Document = Mapping[str, Any]
_REF: Final = "#/components/schemas/"
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def merge(documents: Mapping[str, Document], routes: Sequence[Route]) -> dict[str, Any]:
    """`documents` is service → its OpenAPI document; a service without one is left out."""
    names = _new_names({service: _schemas(document) for service, document in documents.items()})
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for route in routes:
        operation = _operation(documents.get(route.service, {}), route)
        if operation is None:
            continue
        renamed = _renamed(operation, names[route.service])
        paths.setdefault(route.path, {})[route.method.lower()] = _ours(renamed, route)
        _collect(operation, documents[route.service], names[route.service], schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Looma AI",
            "version": "1",
            "description": "Everything that the gateway routes.",
            "x-missing-services": sorted({route.service for route in routes} - set(documents)),
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "securitySchemes": _SECURITY},
    }


def is_description(document: object) -> bool:
    """Whether `document` has the shape that `merge` reads."""
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        return False
    items = document["paths"].values()
    components = document.get("components", {})
    return (
        all(isinstance(item, dict) for item in items)
        and all(isinstance(operation, dict) for item in items for operation in item.values())
        and isinstance(components, dict)
        and isinstance(components.get("schemas", {}), dict)
    )


def _schemas(document: Document) -> Mapping[str, Any]:
    schemas: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
    return schemas


def _operation(document: Document, route: Route) -> Mapping[str, Any] | None:
    operation: Mapping[str, Any] | None = (
        document.get("paths", {}).get(route.path, {}).get(route.method.lower())
    )
    return operation


def _ours(operation: dict[str, Any], route: Route) -> dict[str, Any]:
    operation["tags"] = [route.service]
    operation["x-scope"] = route.scope
    operation["security"] = [] if route.scope == PUBLIC else [{"bearer": []}, {"apiKey": []}]
    if "operationId" in operation:
        operation["operationId"] = f"{route.service}.{operation['operationId']}"
    return operation


def _new_names(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Per service: old name → new name, for the names that have to change."""
    users: defaultdict[str, list[str]] = defaultdict(list)
    for service, own in schemas.items():
        for name in own:
            users[name].append(service)
    shared = {name: services for name, services in users.items() if len(services) > 1}
    clashing = {
        name
        for name, services in shared.items()
        if any(schemas[service][name] != schemas[services[0]][name] for service in services)
    }
    # Equal texts that refer to a clashing name mean different things as well.
    while spread := {
        name
        for name in shared.keys() - clashing
        if any(reference in clashing for reference in references(schemas[shared[name][0]][name]))
    }:
        clashing |= spread
    return {
        service: {name: f"{service}.{name}" for name in own if name in clashing}
        for service, own in schemas.items()
    }


def references(node: Any) -> Iterator[str]:
    """Names of the schemas that a JSON value refers to."""
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str) and target.startswith(_REF):
            yield target.removeprefix(_REF)
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A copy with every reference to a renamed schema corrected."""
    if isinstance(node, dict):
        changed = {key: _renamed(value, names) for key, value in node.items()}
        target = node.get("$ref")
        if isinstance(target, str) and target.startswith(_REF):
            name = target.removeprefix(_REF)
            changed["$ref"] = _REF + names.get(name, name)
        return changed
    if isinstance(node, list):
        return [_renamed(value, names) for value in node]
    return copy.copy(node)


def _collect(
    operation: Mapping[str, Any],
    document: Document,
    names: Mapping[str, str],
    into: dict[str, Any],
) -> None:
    """Add every schema that `operation` needs, under its new name."""
    own = _schemas(document)
    waiting = list(references(operation))
    while waiting:
        name = waiting.pop()
        new = names.get(name, name)
        if name in own and new not in into:
            into[new] = _renamed(own[name], names)
            waiting += references(own[name])
