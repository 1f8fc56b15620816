"""The packaged route table: put together from what each service brings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.routing.packaged import packaged_route_file, packaged_routes, packaged_text
from gateway.routing.route_file import RouteFile, parse_route_file
from shared.errors import ConfigError
from shared.services import SERVICE_NAMES, Service


def test_every_service_brings_routes_in_the_order_of_the_table() -> None:
    assert tuple(dict.fromkeys(route.service for route in packaged_routes())) == SERVICE_NAMES


def test_printed_it_is_the_same_table_as_one_file() -> None:
    document = tomllib.loads(packaged_text())
    read = parse_route_file(document, SERVICE_NAMES, source="printed")
    assert read == packaged_route_file()
    assert set(read.limits) == {"public", "admin", "analyst", "agent", "service"}


class Brought:
    """A service in a package of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = Service("brought", 8299, folder.name)

    def read(self, routes: str) -> RouteFile:
        (self.folder / "routes.toml").write_text(routes)
        return packaged_route_file(services=[self.service])


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Brought:
    package = tmp_path / f"looma_brought_{uuid4().hex}"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return Brought(package)


ROUTE = '[brought]\nroutes = [{ method = "GET", path = "/x", scope = "self" }]\n'


def test_a_service_brings_its_policy_too(brought: Brought) -> None:
    file = brought.read(ROUTE + '[services.brought]\nbalance = "hash"\n')
    assert [route.label for route in file.routes] == ["[brought] GET /x"]
    assert file.services["brought"].balance == "hash"


def test_a_service_without_routes_has_none(brought: Brought) -> None:
    assert packaged_route_file(services=[brought.service]).routes == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROUTE + '[limits]\npublic = ["public: address 1/s"]\n', r"holds \[limits\]"),
        (ROUTE + "[auth]\nroutes = []\n", r"routes\.toml of brought holds \[auth\]"),
        (ROUTE + "[services.auth]\n", r"holds \[services\.auth\]"),
        ("[brought\n", r"routes\.toml of brought is not TOML"),
        (
            ROUTE.replace("self", "selves"),
            r"\[brought\] GET /x: scope must be one of .*it is 'selves'",
        ),
    ],
)
def test_what_a_service_may_not_bring_is_named(brought: Brought, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        brought.read(text)


def test_a_service_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match="lost needs the package looma_lost"):
        packaged_route_file(services=[Service("lost", 8299, "looma_lost")])
