"""The architecture, as tests: who imports whom, what lies where."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.sources import (
    ROOT,
    SOURCES,
    TREES,
    all_imports,
    imports,
    module_of,
    name_of,
    offences,
    owner,
    within,
)


def test_shared_imports_neither_gateway_nor_services() -> None:
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if within(module_of(path), "shared") and module.split(".")[0] in ("gateway", "ai_services")
    )


def test_services_and_gateway_never_import_each_other() -> None:
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if owner(module_of(path)) not in ("shared", "looma_cli")
        and module.split(".")[0] in ("gateway", "ai_services")
        and owner(module) not in (owner(module_of(path)), "ai_services")
    )


def test_nothing_imports_the_command_line() -> None:
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if within(module, "looma_cli") and not within(module_of(path), "looma_cli")
    )


def test_only_main_imports_a_composition_root() -> None:
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if re.fullmatch(r"(gateway|ai_services\.\w+)\.app", module)
        and path.name != "__main__.py"
        and not within(module_of(path), "looma_cli")
    )


# What each room of a package may import of it: only what stands above it here. A package's modules at
# its top count as rooms, but for those that compose them, which no room imports.
ROOMS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "gateway": {
        "expiring_cache": frozenset(),
        "hangups": frozenset(),
        "timeouts": frozenset(),
        "http": frozenset({"expiring_cache"}),
        "resilience": frozenset(),
        "downstream": frozenset({"http", "timeouts"}),
        "upstream": frozenset({"http", "resilience", "timeouts"}),
        "telemetry": frozenset({"http"}),
        "workers": frozenset({"hangups", "telemetry", "upstream"}),
        "auth": frozenset({"expiring_cache", "http", "upstream"}),
        "limits": frozenset({"auth", "expiring_cache", "http"}),
        "routing": frozenset({"hangups", "http", "limits", "resilience", "telemetry", "upstream"}),
        "proxy": frozenset(
            {"auth", "http", "limits", "resilience", "routing", "telemetry", "timeouts", "upstream"}
        ),
        "websocket": frozenset(
            {"auth", "downstream", "http", "proxy", "telemetry", "timeouts", "upstream"}
        ),
        "own_api": frozenset(
            {"auth", "http", "limits", "routing", "telemetry", "timeouts", "upstream", "workers"}
        ),
        "api_docs": frozenset({"http", "own_api", "routing", "upstream"}),
    },
    "looma_cli": {
        "exit_codes": frozenset(),
        "options": frozenset(),
        "runner": frozenset(),
        "terminal": frozenset(),
        "logs": frozenset(),
        "supervision": frozenset({"exit_codes"}),
        "stores": frozenset({"supervision", "terminal"}),
        "work": frozenset({"stores", "terminal"}),
        "up": frozenset({"runner", "stores", "supervision", "terminal", "work"}),
        "commands": frozenset(
            {
                *("exit_codes", "logs", "options", "runner"),
                *("stores", "supervision", "terminal", "up", "work"),
            }
        ),
    },
}
COMPOSING = {
    "gateway": frozenset({"__main__", "app", "compiled", "edge"}),
    "looma_cli": frozenset({"main"}),
}
_MOST_FILES = 20
_MOST_AT_THE_GATEWAYS_TOP = 10


def room_of(module: str, package: str = "gateway") -> str:
    """'http' for gateway.http.head, 'edge' for gateway.edge; '' outside the package."""
    parts = module.split(".")
    return parts[1] if parts[0] == package and len(parts) > 1 else ""


def modules_imported() -> Iterator[tuple[Path, str, int]]:
    """Only what are modules of the product, and not what they define."""
    there = {module_of(path) for path in SOURCES}
    return (one for one in all_imports() if one[1] in there)


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_only_what_the_table_allows(package: str) -> None:
    rooms = ROOMS[package]
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in modules_imported()
        if (here := room_of(module_of(path), package)) in rooms
        and room_of(module, package) not in {"", here, *rooms[here]}
    )


@pytest.mark.parametrize("package", ROOMS)
def test_the_table_names_every_room(package: str) -> None:
    found = {room_of(module_of(path), package) for path in SOURCES} - {""}
    assert found - COMPOSING[package] == set(ROOMS[package])


@pytest.mark.parametrize("package", ROOMS)
def test_the_table_lets_a_room_import_only_what_stands_above_it(package: str) -> None:
    names = list(ROOMS[package])
    below = {
        room: sorted(allowed.difference(names[:place]))
        for place, (room, allowed) in enumerate(ROOMS[package].items())
    }
    assert {room: ahead for room, ahead in below.items() if ahead} == {}


def test_the_architecture_describes_the_rooms_of_the_gateway() -> None:
    """In the order of the table, and the modules beside them by their names."""
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    section = page.partition("## The gateway, room by room\n")[2].partition("\n## ")[0]
    folders = [room for room in ROOMS["gateway"] if (ROOT / "gateway" / room).is_dir()]
    assert re.findall(r"^\| `(\w+)/` \|", section, re.MULTILINE) == folders
    modules = {*ROOMS["gateway"], *COMPOSING["gateway"]}.difference(folders)
    assert modules == set(re.findall(r"`(\w+)\.py`", section.partition("\n|")[0])) - {"test_layout"}


def tangles(graph: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The groups of nodes that all reach each other."""
    reached: dict[str, set[str]] = {}
    for one in graph:
        found, ahead = set[str](), [one]
        while ahead:
            new = graph[ahead.pop()] - found
            found |= new
            ahead += new
        reached[one] = found
    return {
        frozenset(other for other in reached[one] if one in reached[other])
        for one in graph
        if one in reached[one]
    }


def test_no_modules_import_each_other() -> None:
    """Imports within functions count: they hide a cycle, they don't end it."""
    graph: dict[str, set[str]] = {module_of(path): set() for path in SOURCES}
    for path, module, _ in all_imports():
        if module in graph and module != module_of(path):
            graph[module_of(path)].add(module)
    assert tangles(graph) == set()


def test_no_folders_import_each_other() -> None:
    """But for a folder and those in it."""
    folders = {module_of(path): name_of(path.parent) for path in SOURCES}
    graph: dict[str, set[str]] = {folder: set() for folder in folders.values()}
    for path, module, _ in all_imports():
        here, there = name_of(path.parent), folders.get(module)
        if there and not f"{here}/".startswith(f"{there}/") and not there.startswith(f"{here}/"):
            graph[here].add(there)
    assert tangles(graph) == set()


def test_folders_are_small_enough_to_be_read() -> None:
    counted = Counter(name_of(path.parent) for path in SOURCES)
    assert {one: count for one, count in counted.items() if count > _MOST_FILES} == {}
    assert counted["gateway"] <= _MOST_AT_THE_GATEWAYS_TOP


def test_every_package_says_what_it_holds_and_does_nothing() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for folder in sorted({path.parent for path in SOURCES}):
            start = folder / "__init__.py"
            said = ast.get_docstring(TREES[start]) if start in TREES else None
            if not said:
                yield start, 1, "has no docstring"
            elif len(TREES[start].body) > 1:
                yield start, TREES[start].body[1].lineno, "holds code: give it a module"
            elif len(said.splitlines()) > 8:
                yield start, 1, "is longer than eight lines"

    assert not offences(found())


_OPENS = re.compile(r"(open|create|start|sock)_(unix_)?(connection|server|connect|datagram\w*)")


def test_messages_and_rules_touch_no_socket_and_no_store() -> None:
    outside = ("sanic", "httptools", "socket", "ssl", "shared.data_access")

    def found() -> Iterator[tuple[Path, int, str]]:
        for path in SOURCES:
            if room_of(module_of(path)) not in ("http", "resilience"):
                continue
            for module, line in imports(path):
                if any(within(module, one) for one in outside):
                    yield path, line, f"imports {module}"
            for node in ast.walk(TREES[path]):
                if isinstance(node, ast.Attribute) and _OPENS.fullmatch(node.attr):
                    yield path, node.lineno, f"calls {node.attr}"

    assert not offences(found())


def test_the_gateways_tests_lie_where_its_modules_do() -> None:
    """Those of the gateway as a whole lie in tests/gateway/whole."""
    tests = ROOT / "tests" / "gateway"
    lost = [
        name_of(path)
        for path in tests.rglob("test_*.py")
        if path.parent != tests / "whole"
        and not (ROOT / "gateway" / path.parent.relative_to(tests) / path.name[5:]).is_file()
    ]
    assert lost == []


def test_only_routes_know_the_wire_types_of_a_service() -> None:
    """A use case returns values; `schemas` says how they are shown."""
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if re.match(r"ai_services\.\w+\.schemas\b", module)
        and within(module_of(path), "ai_services")
        and path.name not in ("routes.py", "app.py", "schemas.py")
    )


def test_routes_import_no_store() -> None:
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if path.name == "routes.py"
        and within(module_of(path), "ai_services")
        and re.match(r"ai_services\.(\w+\.)+(\w*_)?store\b", module)
    )
