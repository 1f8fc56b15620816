"""Which route a path finds."""

from __future__ import annotations

import pytest

from gateway.routing.route import Route
from gateway.routing.table import RouteTable
from shared.errors import NotFound

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
    route = TABLE.routes[TABLE.look_up(method, path)]
    assert (route.method, route.path) == (method, template)


@pytest.mark.parametrize(
    "path", ["/", "/b", "/a/", "/a//parts/y", "/a/x/parts/", "/a/x/y", "//a", ""]
)
def test_another_path_finds_nothing(path: str) -> None:
    assert TABLE.look_up("GET", path) == -1
    with pytest.raises(NotFound):
        TABLE.methods(path)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/a", ("GET", "HEAD", "OPTIONS", "POST")),
        ("/a/search", ("GET", "HEAD", "OPTIONS")),
        ("/a/x", ("DELETE", "GET", "HEAD", "OPTIONS")),
    ],
)
def test_another_method_learns_which_there_are(path: str, allowed: tuple[str, ...]) -> None:
    assert TABLE.look_up("PATCH", path) == -1
    assert tuple(TABLE.methods(path)) == allowed
