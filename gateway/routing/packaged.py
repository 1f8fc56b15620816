"""The route table that comes with the program: what holds for all services, and what each brings.

`gateway/routes.toml` has the limits by role; `routes.toml` in a service's folder has that service's
routes and, if it wants others than the defaults, its policy. Written one after the other they are a
route file as an operator would write it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from gateway.routing.route import Route
from gateway.routing.route_file import RouteFile, parse_route_file
from gateway.upstream.policy import ServicePolicy
from shared.errors import ConfigError
from shared.service_files import service_files
from shared.services import SERVICES, Service

_NAME: Final = "routes.toml"


def packaged_route_file(
    default: ServicePolicy | None = None, services: Sequence[Service] = SERVICES
) -> RouteFile:
    """The table as a whole; ConfigError that names service, route, problem and fix.

    `default` is the policy of services that it says nothing of.
    """
    document = _parsed(_common(), "the gateway")
    policies = document.setdefault("services", {})
    for name, file in _brought(services).items():
        own = _parsed(file, name)
        policies |= _own(own.pop("services", {}), name, "[services.{}]")
        document |= _own(own, name, "[{}]")
    names = [service.name for service in services]
    return parse_route_file(document, names, source="the packaged routes", default=default)


def packaged_routes() -> tuple[Route, ...]:
    return packaged_route_file().routes


def packaged_text() -> str:
    """The table as one file, for an operator to begin with."""
    return "\n".join(file.read_text("utf-8") for file in (_common(), *_brought(SERVICES).values()))


def _common() -> Traversable:
    return Path(__file__).parents[1] / _NAME


def _brought(services: Sequence[Service]) -> dict[str, Traversable]:
    """The file of each service that has routes, in the order of the services."""
    found = {service.name: service_files(service) / _NAME for service in services}
    return {name: file for name, file in found.items() if file.is_file()}


def _parsed(file: Traversable, owner: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{_NAME} of {owner} is not TOML: {error}.") from error


def _own(tables: dict[str, Any], name: str, form: str) -> dict[str, Any]:
    """The tables of a service's file; ConfigError for one that is another's."""
    for other in tables:
        if other != name:
            raise ConfigError(
                f"{_NAME} of {name} holds {form.format(other)}. Only {form.format(name)} belongs "
                f"there: limits by role stand in gateway/{_NAME}, routes with their service."
            )
    return tables
