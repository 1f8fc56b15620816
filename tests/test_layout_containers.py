"""Every process brings all of its own, to run and to be known: what a new one still lacks is named.

What watches it is the matter of tests/test_layout_watching.py.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec

from gateway.api_docs.openapi import merge
from gateway.routing.packaged import packaged_routes
from shared.services import GATEWAY, PROCESSES, SERVICES, Service
from shared.serving.openapi import describe
from tests.kubernetes import laws
from tests.kubernetes.manifests import base
from tests.sources import ROOT

NEW = Service("assistant", 8299, "ai_services.assistant", frozenset({"relational"}))


def found(pattern: str, path: str) -> list[str]:
    return re.findall(pattern, (ROOT / path).read_text("utf-8"), re.MULTILINE)


def things(processes: Iterable[Service]) -> Mapping[str, Collection[str]]:
    """What there has to be of each process, and the names of those that have it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = found(r"^\| `([\w.]+)` \| (\d+) \|", "docs/architecture.md")
    return {
        "a target in docker/Dockerfile": found(r"^FROM \S+ AS (\S+)$", "docker/Dockerfile"),
        "a service in docker-compose.yml": found(r"^  (\S+):$", "docker-compose.yml"),
        "an extra in pyproject.toml": project["optional-dependencies"],
        "its port in env.example": [
            one.name
            for one in processes
            if found(rf"^{one.port_setting}={one.port}$", "env.example")
        ],
        "a row in the table of processes of docs/architecture.md": [
            one.name for one in processes if (one.module, str(one.port)) in rows
        ],
    }


def lacking(processes: Iterable[Service]) -> Iterator[str]:
    """'NAME: what it has not brought'."""
    processes = tuple(processes)
    there = things(processes)
    for process in processes:
        yield from (
            f"{process.name}: {what}" for what, names in there.items() if process.name not in names
        )
    yield from laws.lacking(base(), processes)
    yield from (
        what for process in processes if process is not GATEWAY for what in undescribed(process)
    )


def undescribed(service: Service) -> Iterator[str]:
    """Which of its public routes /openapi.json would lack, from what it says of itself."""
    if find_spec(service.module) is None:
        yield f"{service.name}: a folder {service.module.replace('.', '/')}"
        return
    own = describe(service.name, "", import_module(f"{service.module}.routes").endpoints)
    routes = [route for route in packaged_routes() if route.service == service.name]
    paths = merge({service.name: own}, routes)["paths"]
    if not routes:
        yield f"{service.name}: public routes in its routes.toml"
    yield from (
        f"{service.name}: {route.method} {route.path} in its description"
        for route in routes
        if route.method.lower() not in paths.get(route.path, {})
    )


def unlisted(folders: Iterable[str], services: Iterable[Service] = SERVICES) -> list[str]:
    """Folders of services that are no entry in the table."""
    modules = {one.module for one in services}
    return [
        f"ai_services/{name}: an entry in shared/services.py"
        for name in sorted(folders)
        if f"ai_services.{name}" not in modules
    ]


def test_every_process_brings_all_of_its_own() -> None:
    assert list(lacking(PROCESSES)) == []


def test_every_folder_of_a_service_is_in_the_table() -> None:
    folders = [path.parent.name for path in (ROOT / "ai_services").glob("*/__init__.py")]
    assert folders
    assert unlisted(folders) == []


def test_what_a_new_process_lacks_is_named() -> None:
    assert list(lacking([*PROCESSES, NEW])) == [
        "assistant: a target in docker/Dockerfile",
        "assistant: a service in docker-compose.yml",
        "assistant: an extra in pyproject.toml",
        "assistant: its port in env.example",
        "assistant: a row in the table of processes of docs/architecture.md",
        *(
            f"assistant: a {kind} in kubernetes/base/assistant.yaml"
            for kind in (*laws.KINDS, "HorizontalPodAutoscaler")
        ),
        "assistant: a folder ai_services/assistant",
    ]


def test_a_folder_that_is_not_in_the_table_is_named() -> None:
    assert unlisted(["auth", "assistant"]) == [
        "ai_services/assistant: an entry in shared/services.py"
    ]


def test_a_route_that_its_service_does_not_describe_is_named() -> None:
    """The routes of one service, asked of what another says of itself."""
    of_auth = Service("enrichment", 8214, "ai_services.auth")
    assert "enrichment: GET /api/v1/calls in its description" in list(undescribed(of_auth))
