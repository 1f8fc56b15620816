"""The table of services: what it says of each is so, and reading it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from gateway.routing.packaged import packaged_routes
from shared.data_access.access import PORTS, StoreUrls, open_data_access
from shared.security import PUBLIC, SELF
from shared.services import GATEWAY, PROCESSES, SERVICES, Service, service_named

each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)


def test_names_ports_modules_and_projections_are_nobody_else_s() -> None:
    for told in (
        [one.name for one in PROCESSES],
        [one.port for one in PROCESSES],
        [one.module for one in PROCESSES],
        [topic for one in PROCESSES for topic in one.topics],
        [projection.name for one in PROCESSES for projection in one.projections],
        [scope for one in PROCESSES for scope in one.scopes],
    ):
        assert len(set(told)) == len(told)


@each_service
def test_a_service_is_a_program_with_the_stores_of_its_projections(service: Service) -> None:
    assert find_spec(f"{service.module}.__main__") is not None
    assert service.stores <= PORTS
    assert service.port_setting == f"{service.name.upper()}_PORT"
    assert {one.store for one in service.projections} <= service.stores
    assert service_named(service.name) is service


def test_every_topic_that_is_heard_is_told_by_somebody() -> None:
    told = {topic for service in SERVICES for topic in service.topics}
    heard = {t for service in SERVICES for one in service.projections for t in one.topics}
    assert heard <= told


@each_service
async def test_a_service_makes_its_projections_of_the_store_that_each_names(
    service: Service,
) -> None:
    urls = StoreUrls("postgresql://127.0.0.1:1/none", "bolt://a:b@127.0.0.1:1", None, None, "")
    makers = {}
    if find_spec(f"{service.module}.projections") is not None:
        makers = import_module(f"{service.module}.projections").PROJECTIONS
    assert set(makers) == {one.name for one in service.projections}
    for one in service.projections:
        async with open_data_access(urls, ports={"relational", one.store}) as data:
            assert makers[one.name](data).name == one.name


@each_service
def test_a_service_s_scopes_are_those_that_its_routes_ask_for(service: Service) -> None:
    asked = {route.scope for route in packaged_routes() if route.service == service.name}
    assert asked - {PUBLIC, SELF} == set(service.scopes)


def test_the_gateway_is_no_service_and_nobody_is_called_something_else() -> None:
    assert GATEWAY not in SERVICES
    with pytest.raises(KeyError):
        service_named("gateway")


def test_reading_the_table_imports_nothing_of_ours_or_others() -> None:
    code = (
        "import sys, dataclasses, types, typing, collections.abc; before = set(sys.modules)\n"
        "import shared.services; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["shared", "shared.services"]
