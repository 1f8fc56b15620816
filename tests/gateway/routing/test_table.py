"""The route table: what a file may say, and which route a path finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.app import SERVICES
from gateway.routing.route import Route, packaged_routes, parse_routes, read_routes
from gateway.routing.table import RouteTable
from shared.errors import ConfigError, MethodNotAllowed, NotFound

GOOD = {"method": "GET", "path": "/api/v1/things/{id}", "scope": "calls:read"}


def parsed(*routes: object, service: str = "portrait") -> tuple[Route, ...]:
    return parse_routes({service: {"routes": list(routes)}}, SERVICES, source="routes.toml")


def test_the_packaged_table_is_valid() -> None:
    routes = read_routes(packaged_routes(), SERVICES)
    assert {route.service for route in routes} == set(SERVICES)
    by_name = {(route.method, route.path): route for route in routes}
    assert by_name["POST", "/api/v1/calls"].body_limit == 32 << 20
    assert by_name["POST", "/api/v1/admin/compute"].timeout == 600
    assert by_name["GET", "/api/v1/periods"].timeout == 15


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scope": "calls:raed"}, "unknown scope 'calls:raed'"),
        ({"method": "get"}, "method must be one of"),
        ({"method": "HEAD"}, "method must be one of"),
        ({"path": "api/v1"}, "must start with '/'"),
        ({"path": "/api//v1"}, "segment ''"),
        ({"path": "/api/{Id}"}, "segment '{Id}'"),
        ({"path": "/api/{id}x"}, "segment '{id}x'"),
        ({"path": "/api/../v1"}, "segment '..'"),
        ({"path": "/api/{id}/{id}"}, "used twice"),
        ({"path": "/internal/v1/keys"}, "is internal"),
        ({"path": "/health"}, "belongs to the gateway"),
        ({"path": "/docs/{file}"}, "belongs to the gateway"),
        ({"timeout": 0}, "timeout must be a number above 0"),
        ({"timeout": "15"}, "timeout must be"),
        ({"timeout": True}, "timeout must be"),
        ({"body_limit": 1.5}, "body_limit must be"),
        ({"stream": "yes"}, "stream must be"),
        ({"timout": 5}, "unknown 'timout'"),
        ({"stream": True, "idempotent": True}, "the answer of a stream is not kept"),
        ({"stream": True, "method": "POST", "idempotent": "required"}, "is not kept"),
        ({"idempotent": "yes"}, 'idempotent must be true, false or "required"'),
        ({"idempotent": "required"}, "can only be required of signed-in callers of PATCH and POST"),
        ({"method": "POST", "scope": "public", "idempotent": "required"}, "signed-in callers"),
    ],
)
def test_a_wrong_route_is_named_with_its_problem(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed({**GOOD, **change})
    assert said in caught.value.message
    assert "routes.toml: [portrait]" in caught.value.message


def test_two_routes_may_not_match_the_same_requests() -> None:
    with pytest.raises(ConfigError, match="duplicate route GET"):
        parsed(GOOD, {**GOOD, "path": "/api/v1/things/{other}"})
    with pytest.raises(ConfigError, match="same names"):
        parsed(GOOD, {**GOOD, "method": "DELETE", "path": "/api/v1/things/{other}"})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"portraits": {"routes": []}}, "[portraits] is not a service"),
        ({"portrait": {"routs": []}}, "must hold `routes"),
        ({"portrait": {"routes": 5}}, "must hold `routes"),
        ({"portrait": 5}, "must hold `routes"),
        ({"portrait": {"routes": [5]}}, "is not a route"),
        ({"portrait": {"routes": [{"path": "/x"}]}}, "is not a route"),
    ],
)
def test_a_file_of_another_shape_is_explained(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_routes(document, SERVICES, source="routes.toml")
    assert said in caught.value.message


def test_an_unreadable_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GATEWAY_ROUTES: can't read"):
        read_routes(tmp_path / "none.toml", SERVICES)
    (tmp_path / "bad.toml").write_text("[portrait\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_routes(tmp_path / "bad.toml", SERVICES)


TABLE = RouteTable(
    [
        Route("GET", "/a", "portrait", "self"),
        Route("POST", "/a", "portrait", "self"),
        Route("GET", "/a/search", "portrait", "self"),
        Route("GET", "/a/{id}", "portrait", "self"),
        Route("DELETE", "/a/{id}", "portrait", "self"),
        Route("GET", "/a/{id}/parts/{part}", "portrait", "self"),
        Route("GET", "/a/fixed/{kind}", "portrait", "self"),
        Route("GET", "/{any}/b", "portrait", "self"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", "/a", "/a"),
        ("POST", "/a", "/a"),
        ("GET", "/a/search", "/a/search"),
        ("GET", "/a/searches", "/a/{id}"),
        ("DELETE", "/a/x", "/a/{id}"),
        ("GET", "/a/x/parts/y", "/a/{id}/parts/{part}"),
        ("GET", "/a/fixed/y", "/a/fixed/{kind}"),
        ("GET", "/a/fixed/parts/y", "/a/{id}/parts/{part}"),  # back from a word to a parameter
        ("GET", "/x/b", "/{any}/b"),
        ("GET", "/a/%E5%AE%A2", "/a/{id}"),
    ],
)
def test_a_path_finds_its_template(method: str, path: str, template: str) -> None:
    route = TABLE.routes[TABLE.find(method, path)]
    assert (route.method, route.path) == (method, template)


@pytest.mark.parametrize(
    "path", ["/", "/b", "/a/", "/a//parts/y", "/a/x/parts/", "/a/x/y", "//a", ""]
)
def test_another_path_finds_nothing(path: str) -> None:
    with pytest.raises(NotFound):
        TABLE.find("GET", path)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/a", ("GET", "HEAD", "OPTIONS", "POST")),
        ("/a/search", ("GET", "HEAD", "OPTIONS")),
        ("/a/x", ("DELETE", "GET", "HEAD", "OPTIONS")),
    ],
)
def test_another_method_learns_which_there_are(path: str, allowed: tuple[str, ...]) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        TABLE.find("PATCH", path)
    assert caught.value.allowed == allowed
