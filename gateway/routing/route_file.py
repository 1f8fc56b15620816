"""The route file (GATEWAY_ROUTES): read and checked. gateway/routes.toml explains its words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    create_model,
    model_validator,
)

from gateway.http.request import METHODS
from gateway.limits.limit import EXAMPLE, Limit, check_shared, parse_limits
from gateway.routing.route import (
    DEFAULT_BODY_LIMIT,
    DEFAULT_TIMEOUT_S,
    ENVELOPE,
    KEYED_METHODS,
    MAX_TIMEOUT_S,
    OPENAI,
    REQUIRED,
    Route,
)
from gateway.upstream.policy import ServicePolicy, parse_policy
from shared.errors import ConfigError
from shared.security import ALL_SCOPES, PUBLIC, USER_ROLES
from shared.serving.toml_file import Table, checked, one_of, read_toml

PRIORITIES: Final = ("interactive", "batch")
_MAX_BODY: Final = 1 << 30
_LIFE: Final = re.compile(r"([1-9][0-9]{0,4})([smh])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_LONGEST_LIFE_S: Final = 3600
_SETTINGS: Final = frozenset({"services", "limits"})  # tables that are no service's routes
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*|\.well-known|\{[a-z][a-z0-9_]*\}")
_OWN: Final = frozenset(
    {"/health", "/ready", "/metrics", "/openapi.json", "/docs", "/api/v1/batch"}
)


@dataclass(frozen=True, slots=True)
class RouteFile:
    """All that a route file says."""

    routes: tuple[Route, ...]
    services: Mapping[str, ServicePolicy] = field(default_factory=dict)
    limits: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)  # by role, and `public`


def read_route_file(
    path: Path, services: Collection[str], default: ServicePolicy | None = None
) -> RouteFile:
    """A file as a whole; ConfigError that names file, entry, field, problem and fix.

    `services` are those that routes may name, `default` is the policy of those that the file says
    nothing of.
    """
    document = read_toml(path, "GATEWAY_ROUTES")
    return parse_route_file(document, services, source=str(path), default=default)


def parse_route_file(
    document: Mapping[str, Any],
    services: Collection[str],
    *,
    source: str,
    default: ServicePolicy | None = None,
) -> RouteFile:
    """A parsed file as a whole: routes by service, and the tables `services` and `limits`."""
    routes = parse_routes(document, services, source=source)
    limits = _role_limits(document.get("limits", {}), f"{source}: [limits]")
    try:
        check_shared(
            [
                *((f"[limits] {role}", one) for role, several in limits.items() for one in several),
                *((route.label, one) for route in routes for one in route.limits),
            ]
        )
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}") from error
    base = default or ServicePolicy()
    policies = _policies(document.get("services", {}), services, f"{source}: [services", base)
    return RouteFile(routes, policies, limits)


def parse_routes(
    document: Mapping[str, Any], services: Collection[str], *, source: str
) -> tuple[Route, ...]:
    """The routes of a parsed file: service → {"routes": [{method, path, scope, …}]}."""
    routes: list[Route] = []
    for service, section in document.items():
        if service in _SETTINGS:
            continue
        if service not in services:
            raise ConfigError(
                f"{source}: [{service}] is not a service. Known are {', '.join(sorted(services))}; "
                "another one needs an entry in GATEWAY_UPSTREAMS."
            )
        if (
            not isinstance(section, dict)
            or set(section) != {"routes"}
            or not isinstance(section["routes"], list)
        ):
            raise ConfigError(f"{source}: [{service}] must hold `routes = [ … ]` and nothing else.")
        routes += [_route(service, item, source) for item in section["routes"]]
    _check_together(routes, source)
    return tuple(routes)


def _life(text: object) -> float:
    """Seconds of `cache = "30s"`."""
    match = _LIFE.fullmatch(text) if isinstance(text, str) else None
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_LIFE_S:
        raise ValueError
    return float(seconds)


def _idempotent(value: object) -> object:
    if isinstance(value, bool) or value == REQUIRED:
        return value
    raise ValueError


def _path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"{path!r} must start with '/'.")
    segments = path[1:].split("/")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            raise ValueError(
                f"the segment {segment!r} is neither a plain word nor a {{parameter}}."
            )
    names = [segment for segment in segments if segment.startswith("{")]
    if len(set(names)) != len(names):
        raise ValueError("a parameter's name is used twice. Rename one.")
    if (
        path in _OWN
        or path.startswith(("/api/v1/gateway/", "/docs/"))
        or segments[0] in ("internal", "{internal}")
    ):
        raise ValueError("it belongs to the gateway itself or is internal. Choose another.")
    return path


def _seconds(default: float | None) -> Any:
    wanted = f"a number above 0 and at most {MAX_TIMEOUT_S:g}"
    return Field(default, gt=0, le=MAX_TIMEOUT_S, description=wanted)


def _flag(default: bool) -> Any:
    return Field(default, description="true or false")


def _texts() -> Any:
    return Field(default_factory=list, description=f"a list of texts. {EXAMPLE}")


class _Entry(Table):
    """A route as the file writes it; the fields are those of `Route`."""

    method: str = one_of(METHODS)
    path: Annotated[str, AfterValidator(_path)] = Field(description="a path such as /api/v1/x/{id}")
    scope: str = one_of(sorted(ALL_SCOPES))
    timeout: float = _seconds(DEFAULT_TIMEOUT_S)
    body_limit: int = Field(
        DEFAULT_BODY_LIMIT, gt=0, le=_MAX_BODY, description=f"a whole number from 1 to {_MAX_BODY}"
    )
    stream: bool = _flag(False)
    per_try: float | None = _seconds(None)
    hedge: float | None = _seconds(None)
    priority: str = one_of(PRIORITIES, PRIORITIES[0])
    limits: list[str] = _texts()
    cache: Annotated[float, BeforeValidator(_life)] = Field(
        0.0, description='a time from 1s to 1h, such as "30s"'
    )
    idempotent: Annotated[bool | str, PlainValidator(_idempotent)] = Field(
        True, description=f'true, false or "{REQUIRED}"'
    )
    failures: str = one_of((ENVELOPE, OPENAI), ENVELOPE)
    websocket: bool = _flag(False)

    @model_validator(mode="after")
    def _agrees(self) -> _Entry:
        """The rules between fields."""
        for name, value in (("per_try", self.per_try), ("hedge", self.hedge)):
            if value is not None and value > self.timeout:
                raise ValueError(f"{name} must be at most the timeout, {self.timeout:g} s.")
        if self.hedge is not None and self.method != "GET":
            raise ValueError("only a GET may be asked of two instances. Leave out hedge.")
        if self.cache and (self.method != "GET" or self.stream):
            raise ValueError("only a GET that is no stream can be cached. Leave out cache.")
        self._agrees_on_idempotent()
        unfit = {"hedge", "cache", "body_limit"} & self.model_fields_set
        if self.websocket and (self.method != "GET" or unfit):
            raise ValueError(
                "only a GET can be a WebSocket. It has no body, and is neither kept nor asked of "
                "two instances: leave out body_limit, cache and hedge."
            )
        return self

    def _agrees_on_idempotent(self) -> None:
        if self.stream and "idempotent" in self.model_fields_set and self.idempotent is not False:
            raise ValueError(
                "the answer of a stream is not kept, so its service honours Idempotency-Key "
                "itself, or nobody does. Leave out idempotent, or stream."
            )
        if self.idempotent == REQUIRED and (
            self.method not in KEYED_METHODS or self.scope == PUBLIC
        ):
            raise ValueError(
                "an Idempotency-Key can only be required of signed-in callers of "
                f"{' and '.join(sorted(KEYED_METHODS))}."
            )


def _route(service: str, item: object, source: str) -> Route:
    if not isinstance(item, dict) or not {"method", "path", "scope"} <= set(item):
        raise ConfigError(
            f"{source}: [{service}]: {item!r} is not a route. "
            'Example: { method = "GET", path = "/api/v1/periods", scope = "portrait:read" }.'
        )
    label = f"{source}: [{service}] {item['method']} {item['path']}"
    entry = checked(_Entry, item, label)
    stream = entry.stream or entry.websocket
    said = entry.model_dump(exclude={"limits", "stream"})
    if "idempotent" not in entry.model_fields_set:
        said["idempotent"] = not stream
    limits = parse_limits(entry.limits, label, signed_in=entry.scope != PUBLIC)
    return Route(service=service, stream=stream, limits=limits, **said)


_ROLES: Final[Mapping[str, Any]] = {role: (list[str], _texts()) for role in (*USER_ROLES, PUBLIC)}
_RoleLimits = create_model("_RoleLimits", __base__=Table, **_ROLES)


def _role_limits(item: object, label: str) -> dict[str, tuple[Limit, ...]]:
    texts = checked(_RoleLimits, item, label).model_dump(exclude_unset=True)
    return {
        role: parse_limits(of_role, f"{label} {role}", signed_in=role != PUBLIC, of_role=True)
        for role, of_role in texts.items()
    }


def _policies(
    item: object, services: Collection[str], label: str, base: ServicePolicy
) -> dict[str, ServicePolicy]:
    if not isinstance(item, dict):
        raise ConfigError(f"{label}] must be a table.")
    for name in item:
        if name not in services:
            raise ConfigError(
                f"{label}.{name}] is not a service. Known are {', '.join(sorted(services))}."
            )
    return {name: parse_policy(one, base, f"{label}.{name}]") for name, one in item.items()}


def _check_together(routes: list[Route], source: str) -> None:
    seen: dict[tuple[str, str], Route] = {}
    names: dict[str, Route] = {}
    for route in routes:
        other = seen.setdefault((route.method, route.shape), route)
        if other is not route:
            raise ConfigError(
                f"{source}: duplicate route {route.method} {route.path} in [{route.service}]: "
                f"[{other.service}] has {other.path} already. Remove one."
            )
        namesake = names.setdefault(route.shape, route)
        if namesake.path != route.path:
            raise ConfigError(
                f"{source}: {route.path} and {namesake.path} match the same paths. "
                "Give their parameters the same names."
            )
