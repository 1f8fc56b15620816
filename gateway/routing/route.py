"""One route, and the file of routes: read, checked, explained when wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.http.request import METHODS
from gateway.limits.limit import Limit, check_shared, parse_limits
from gateway.upstream.policy import ServicePolicy, parse_policy
from shared.errors import ConfigError
from shared.security import ALL_SCOPES, PUBLIC, USER_ROLES

DEFAULT_TIMEOUT_S: Final = 15.0
DEFAULT_BODY_LIMIT: Final = 1 << 20
MAX_TIMEOUT_S: Final = 3600.0
_MAX_BODY: Final = 1 << 30
_KEYS: Final = frozenset(
    {
        "method", "path", "scope", "timeout", "body_limit", "stream", "per_try", "hedge",
        "priority", "limits", "cache", "idempotent", "websocket",
    }
)  # fmt: skip
KEYED_METHODS: Final = frozenset({"POST", "PATCH"})  # the others can be sent again without a key
REQUIRED: Final = "required"
_LIFE: Final = re.compile(r"([1-9][0-9]{0,4})([smh])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_LONGEST_LIFE_S: Final = 3600
PRIORITIES: Final = ("interactive", "batch")
_SETTINGS: Final = frozenset({"services", "limits"})  # tables that are no service's routes
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*|\.well-known|\{[a-z][a-z0-9_]*\}")
_OWN: Final = frozenset(
    {"/health", "/ready", "/metrics", "/openapi.json", "/docs", "/api/v1/batch"}
)


@dataclass(frozen=True, slots=True)
class Route:
    """A public route of a service. `path` is a template: '/api/v1/portrait/{user_id}'."""

    method: str
    path: str
    service: str
    scope: str
    timeout: float = DEFAULT_TIMEOUT_S  # seconds from the request sent to the answer's head
    body_limit: int = DEFAULT_BODY_LIMIT  # bytes
    stream: bool = False
    per_try: float | None = None  # seconds for one try of several; None: all of `timeout`
    hedge: float | None = None  # seconds after which a second instance is asked as well
    priority: str = "interactive"
    limits: tuple[Limit, ...] = ()  # beside those of the caller's role
    cache: float = 0.0  # seconds for which an answer is kept for its caller; 0: not at all
    # Honour Idempotency-Key; REQUIRED: insist on one. False: it goes to the service, as for streams.
    idempotent: bool | str = True
    websocket: bool = False  # opened by a WebSocket handshake (GET); a stream, too

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path[1:].split("/"))

    @property
    def label(self) -> str:
        """Where it stands in its file."""
        return f"[{self.service}] {self.method} {self.path}"

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))

    @property
    def shape(self) -> str:
        """The path with its parameters' names left out: equal shapes match equal paths."""
        return re.sub(r"\{[^}]*\}", "{}", self.path)


@dataclass(frozen=True, slots=True)
class RouteFile:
    """All that a route file says."""

    routes: tuple[Route, ...]
    services: Mapping[str, ServicePolicy] = field(default_factory=dict)
    limits: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)  # by role, and `public`


def packaged_routes() -> Path:
    return Path(__file__).parents[1] / "routes.toml"


def read_routes(path: Path, services: Collection[str]) -> tuple[Route, ...]:
    """The routes of a file; ConfigError that names file, route, problem and fix."""
    return read_route_file(path, services).routes


def read_route_file(
    path: Path, services: Collection[str], default: ServicePolicy | None = None
) -> RouteFile:
    """A file as a whole. `default` is the policy of services that it says nothing of."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"GATEWAY_ROUTES: can't read {path}: {error.strerror}. Name a readable TOML file."
        ) from error
    except ValueError as error:
        raise ConfigError(f"GATEWAY_ROUTES: {path} is not TOML: {error}.") from error
    return parse_route_file(document, services, source=str(path), default=default)


def parse_route_file(
    document: Mapping[str, Any],
    services: Collection[str],
    *,
    source: str,
    default: ServicePolicy | None = None,
) -> RouteFile:
    """`document` is a parsed file: routes by service, `services` and `limits`."""
    routes = parse_routes(document, services, source=source)
    limits = _role_limits(document.get("limits", {}), source)
    try:
        check_shared(
            [
                *((f"[limits] {role}", one) for role, several in limits.items() for one in several),
                *((route.label, one) for route in routes for one in route.limits),
            ]
        )
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}") from error
    policies = {}
    for name, item in _table(document.get("services", {}), f"{source}: [services]").items():
        if name not in services:
            raise ConfigError(f"{source}: [services.{name}] is not a service.")
        base = default or ServicePolicy()
        policies[name] = parse_policy(item, base, f"{source}: [services.{name}]")
    return RouteFile(routes, policies, limits)


def _role_limits(item: object, source: str) -> dict[str, tuple[Limit, ...]]:
    label = f"{source}: [limits]"
    known = (*USER_ROLES, PUBLIC)
    found = {}
    for role, texts in _table(item, label).items():
        if role not in known:
            raise ConfigError(f"{label}: unknown {role!r}. Known are {', '.join(known)}.")
        found[role] = parse_limits(texts, f"{label} {role}", signed_in=role != PUBLIC, of_role=True)
    return found


def _table(item: object, label: str) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise ConfigError(f"{label} must be a table.")
    return item


def parse_routes(
    document: Mapping[str, Any], services: Collection[str], *, source: str
) -> tuple[Route, ...]:
    """`document` is service → {"routes": [{method, path, scope, …}]}."""
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


def _route(service: str, item: object, source: str) -> Route:
    if not isinstance(item, dict) or not {"method", "path", "scope"} <= set(item):
        raise ConfigError(
            f"{source}: [{service}]: {item!r} is not a route. "
            'Example: { method = "GET", path = "/api/v1/periods", scope = "portrait:read" }.'
        )
    label = f"{source}: [{service}] {item['method']} {item['path']}"
    if unknown := sorted(set(item) - _KEYS):
        raise ConfigError(f"{label}: unknown {unknown[0]!r}. Known are {', '.join(sorted(_KEYS))}.")
    if item["method"] not in METHODS:
        raise ConfigError(f"{label}: the method must be one of {', '.join(METHODS)}.")
    if item["scope"] not in ALL_SCOPES:
        raise ConfigError(
            f"{label}: unknown scope {item['scope']!r}. Known are {', '.join(sorted(ALL_SCOPES))}."
        )
    _check_path(item["path"], label)
    _check_number(item, "timeout", MAX_TIMEOUT_S, label)
    _check_number(item, "body_limit", _MAX_BODY, label)
    if not isinstance(item.get("stream", False), bool):
        raise ConfigError(f"{label}: stream must be true or false.")
    _check_times(item, label)
    _check_websocket(item, label)
    limits = parse_limits(item.get("limits", []), label, signed_in=item["scope"] != PUBLIC)
    cache = parse_life(item["cache"], label) if "cache" in item else 0.0
    stream = item.get("stream", False) or item.get("websocket", False)
    idempotent = item.get("idempotent", not stream)
    read = {"limits": limits, "cache": cache, "stream": stream, "idempotent": idempotent}
    return Route(service=service, **{**item, **read})


def parse_life(text: object, label: str) -> float:
    """Seconds of `cache = "30s"` in the route table; ConfigError that starts with `label`."""
    match = _LIFE.fullmatch(text) if isinstance(text, str) else None
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_LIFE_S:
        raise ConfigError(
            f'{label}: cache must be a time from 1s to 1h, not {text!r}. Example: cache = "30s".'
        )
    return float(seconds)


def _check_times(item: Mapping[str, Any], label: str) -> None:
    whole = item.get("timeout", DEFAULT_TIMEOUT_S)
    for key in ("per_try", "hedge"):
        if key in item:
            _check_number(item, key, whole, label)
    if "hedge" in item and item["method"] != "GET":
        raise ConfigError(f"{label}: only a GET may be asked of two instances. Leave out hedge.")
    if item.get("priority", "interactive") not in PRIORITIES:
        raise ConfigError(f"{label}: priority must be one of {', '.join(PRIORITIES)}.")
    if "cache" in item and (item["method"] != "GET" or item.get("stream", False)):
        raise ConfigError(f"{label}: only a GET that is no stream can be cached.")
    _check_idempotent(item, label)


def _check_idempotent(item: Mapping[str, Any], label: str) -> None:
    wanted = item.get("idempotent", True)
    if not isinstance(wanted, bool) and wanted != REQUIRED:
        raise ConfigError(f'{label}: idempotent must be true, false or "{REQUIRED}".')
    if item.get("stream", False) and "idempotent" in item and wanted is not False:
        raise ConfigError(
            f"{label}: the answer of a stream is not kept, so its service honours Idempotency-Key "
            "itself, or nobody does. Leave out idempotent, or stream."
        )
    if wanted == REQUIRED and (item["method"] not in KEYED_METHODS or item["scope"] == PUBLIC):
        raise ConfigError(
            f"{label}: an Idempotency-Key can only be required of signed-in callers of "
            f"{' and '.join(sorted(KEYED_METHODS))}."
        )


def _check_websocket(item: Mapping[str, Any], label: str) -> None:
    websocket = item.get("websocket", False)
    if not isinstance(websocket, bool):
        raise ConfigError(f"{label}: websocket must be true or false.")
    if websocket and (item["method"] != "GET" or {"hedge", "cache", "body_limit"} & set(item)):
        raise ConfigError(
            f"{label}: only a GET can be a WebSocket. It has no body, and is neither kept nor "
            "asked of two instances: leave out body_limit, cache and hedge."
        )


def _check_path(path: object, label: str) -> None:
    if not isinstance(path, str) or not path.startswith("/"):
        raise ConfigError(f"{label}: the path must start with '/'.")
    names = [segment for segment in path[1:].split("/") if segment.startswith("{")]
    for segment in path[1:].split("/"):
        if not _SEGMENT.fullmatch(segment):
            raise ConfigError(
                f"{label}: the segment {segment!r} is neither a plain word nor a {{parameter}}."
            )
    if len(set(names)) != len(names):
        raise ConfigError(f"{label}: a parameter's name is used twice. Rename one.")
    if (
        path in _OWN
        or path.startswith(("/api/v1/gateway/", "/docs/"))
        or path.split("/")[1] in ("internal", "{internal}")
    ):
        raise ConfigError(f"{label}: this path belongs to the gateway itself or is internal.")


def _check_number(item: Mapping[str, Any], key: str, most: float, label: str) -> None:
    value = item.get(key, 1)
    kinds = (int,) if key == "body_limit" else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= most:
        raise ConfigError(f"{label}: {key} must be a number above 0 and at most {most:g}.")


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
