"""What a file of routes may say, and what is said about one that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.routing.packaged import packaged_routes
from gateway.routing.route import Route
from gateway.routing.route_file import (
    parse_route_file,
    parse_routes,
    read_route_file,
)
from shared.errors import ConfigError
from shared.services import SERVICE_NAMES

GOOD = {"method": "GET", "path": "/api/v1/things/{id}", "scope": "calls:read"}


def parsed(*routes: object, service: str = "portrait") -> tuple[Route, ...]:
    return parse_routes({service: {"routes": list(routes)}}, SERVICE_NAMES, source="routes.toml")


def test_the_packaged_table_is_valid() -> None:
    routes = packaged_routes()
    assert {route.service for route in routes} == set(SERVICE_NAMES)
    by_name = {(route.method, route.path): route for route in routes}
    assert by_name["POST", "/api/v1/calls"].body_limit == 32 << 20
    assert by_name["POST", "/api/v1/admin/compute"].timeout == 75
    assert by_name["GET", "/api/v1/periods"].timeout == 15


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scope": "calls:raed"}, "scope must be one of analysis:read, analysis:write, audit:read"),
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
        ({"per_try": 20}, "per_try must be at most the timeout, 15 s"),
        ({"hedge": "1"}, "hedge must be a number above 0 and at most 3600 (it is '1')"),
        ({"hedge": 1, "method": "POST"}, "only a GET may be asked of two instances"),
        ({"priority": "low"}, "priority must be one of interactive, batch (it is 'low')"),
        ({"cache": "1m", "stream": True}, "only a GET that is no stream can be cached"),
        ({"stream": True, "idempotent": True}, "the answer of a stream is not kept"),
        ({"stream": True, "method": "POST", "idempotent": "required"}, "is not kept"),
        ({"idempotent": "yes"}, 'idempotent must be true, false or "required"'),
        ({"idempotent": 1}, 'idempotent must be true, false or "required" (it is 1)'),
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
        parse_routes(document, SERVICE_NAMES, source="routes.toml")
    assert said in caught.value.message


def test_an_unreadable_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GATEWAY_ROUTES: can't read"):
        read_route_file(tmp_path / "none.toml", SERVICE_NAMES)
    (tmp_path / "bad.toml").write_text("[portrait\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_route_file(tmp_path / "bad.toml", SERVICE_NAMES)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30.0), ("5m", 300.0), ("1h", 3600.0)])
def test_an_answer_is_kept_for_a_time_with_its_unit(text: str, seconds: float) -> None:
    assert parsed({**GOOD, "cache": text})[0].cache == seconds


@pytest.mark.parametrize("wrong", ["0s", "2h", "30", "30 s", "-1s", "1d", 30, True])
def test_a_time_of_another_form_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="cache must be a time from 1s to 1h, such as"):
        parsed({**GOOD, "cache": wrong})


@pytest.mark.parametrize("limits", ["principal 1/s", [1], {"principal": 1}])
def test_limits_are_a_list_of_texts(limits: object) -> None:
    for document in (
        {"portrait": {"routes": [{**GOOD, "limits": limits}]}},
        {"limits": {"agent": limits}},
    ):
        with pytest.raises(ConfigError, match=r"must be a list of texts\. Example: limits ="):
            parse_route_file(document, SERVICE_NAMES, source="routes.toml")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"limits": {"agents": []}}, "routes.toml: [limits]: unknown 'agents'. Known are admin,"),
        ({"limits": 5}, "routes.toml: [limits] must be a table."),
        ({"services": 5}, "routes.toml: [services] must be a table."),
        ({"services": {"chat": {}}}, "[services.chat] is not a service. Known are auth,"),
        ({"services": {"auth": 5}}, "routes.toml: [services.auth] must be a table."),
    ],
)
def test_a_setting_of_another_shape_is_explained(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_route_file(document, SERVICE_NAMES, source="routes.toml")
    assert said in caught.value.message
