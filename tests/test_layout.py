"""The architecture, as tests: who imports whom, what lies where, what is documented."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from gateway.routing.packaged import packaged_routes
from shared import errors
from shared.config import SETTINGS, env_example
from shared.services import PROCESSES, SERVICES, Service

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("gateway", "ai_services", "shared", "looma_cli")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(), str(path)) for path in SOURCES}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that `path` imports, wherever in the file, with the line."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base]).rstrip(".")
            yield base, node.lineno
            # `from ai_services import auth` imports ai_services.auth.
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def owner(module: str) -> str:
    """'ai_services.auth' for anything in that service, else the top package."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "ai_services" and len(parts) > 1 else parts[0]


def offences(found: Iterator[tuple[Path, int, str]]) -> list[str]:
    return [f"{name_of(path)}:{line}: {what}" for path, line, what in found]


def all_imports() -> Iterator[tuple[Path, str, int]]:
    for path in SOURCES:
        for module, line in imports(path):
            yield path, module, line


def test_shared_imports_neither_gateway_nor_services() -> None:
    """Except the command line, which is a composition root of its own."""
    assert not offences(
        (path, line, f"imports {module}")
        for path, module, line in all_imports()
        if within(module_of(path), "shared")
        and not within(module_of(path), "looma_cli")
        and module.split(".")[0] in ("gateway", "ai_services")
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
        "supervision": frozenset({"exit_codes"}),
        "stores": frozenset({"supervision", "terminal"}),
        "work": frozenset({"stores", "terminal"}),
        "up": frozenset({"runner", "stores", "supervision", "terminal", "work"}),
        "commands": frozenset(
            {
                *("exit_codes", "options", "runner"),
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
    TopologicalSorter(rooms).prepare()  # raises CycleError
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


def test_routes_parse_call_and_respond() -> None:
    """A handler decides nothing and opens no transaction: that is the use case's."""
    logic = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith)
    assert not offences(
        (path, part.lineno, f"{handler.name}: {type(part).__name__}")
        for path in SOURCES
        if path.name == "routes.py"
        for handler in ast.walk(TREES[path])
        if isinstance(handler, ast.AsyncFunctionDef)
        for part in ast.walk(handler)
        if isinstance(part, logic)
    )


def test_only_the_configuration_reads_the_environment() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for path in SOURCES:
            if module_of(path) == "shared.config":
                continue
            for node in ast.walk(TREES[path]):
                if isinstance(node, ast.Attribute) and node.attr in (
                    "environ",
                    "environb",
                    "getenv",
                ):
                    yield path, node.lineno, f"reads os.{node.attr}"
                if isinstance(node, ast.ImportFrom) and node.module == "os":
                    yield from (
                        (path, node.lineno, f"imports os.{alias.name}")
                        for alias in node.names
                        if alias.name in ("environ", "environb", "getenv")
                    )

    assert not offences(found())


def test_there_is_no_global_statement() -> None:
    assert not offences(
        (path, node.lineno, "global")
        for path in SOURCES
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Global)
    )


def test_modules_are_named_for_a_noun() -> None:
    homeless = {"utils", "util", "helpers", "helper", "common", "misc", "base2", "tools"}
    assert [name_of(path) for path in SOURCES if path.stem in homeless] == []


QUERY_METHODS = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "stream", "copy_csv"}
_SQL = re.compile(
    r"\b(SELECT\b.+\bFROM|INSERT\s+INTO|UPDATE\b.+\bSET|DELETE\s+FROM|MERGE\s+INTO|"
    r"CREATE\s+(TABLE|ROLE|INDEX|DATABASE)|ALTER\s+(TABLE|ROLE)|DROP\s+\w+)\b",
    re.DOTALL,
)


def constant(node: ast.expr, bound: frozenset[str] = frozenset()) -> bool:
    """Whether an expression is made of literals and module constants (UPPER_CASE) only.

    `bound` are names that run over a constant. An index into a constant table may be anything:
    what comes out of it is one of its values.
    """
    match node:
        case ast.Constant():
            return True
        case ast.Name():
            return node.id.isupper() or node.id in bound
        case ast.Attribute():
            return node.attr.isupper() or constant(node.value, bound)
        case ast.Subscript():
            return constant(node.value, bound)
        case ast.Call():
            callee = node.func
            owned = not isinstance(callee, ast.Attribute) or constant(callee.value, bound)
            return owned and all(constant(argument, bound) for argument in node.args)
        case ast.JoinedStr():
            parts = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            return all(constant(part, bound) for part in parts)
        case ast.BinOp():
            return constant(node.left, bound) and constant(node.right, bound)
        case _:
            return False


def over_constants(tree: ast.AST) -> frozenset[str]:
    """Names that comprehensions bind to the items of module constants."""
    return frozenset(
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.comprehension)
        and isinstance(node.target, ast.Name)
        and constant(node.iter)
    )


def built(node: ast.expr) -> bool:
    """Whether a text is put together rather than written down or passed on."""
    return isinstance(node, ast.JoinedStr | ast.BinOp) or (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
    )


def constants(node: ast.expr) -> str:
    return "".join(
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def test_no_query_is_built_from_input() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for path in SOURCES:
            bound = over_constants(TREES[path])
            for node in ast.walk(TREES[path]):
                formatted = isinstance(node, ast.JoinedStr) and not constant(node, bound)
                if formatted and _SQL.search(constants(node)):
                    yield path, node.lineno, "SQL in an f-string"
                elif (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in QUERY_METHODS
                    and node.args
                    and built(node.args[0])
                    and not constant(node.args[0], bound)
                ):
                    yield path, node.lineno, f"{node.func.attr}() of a built query"

    assert not offences(found())


def test_broad_excepts_say_why() -> None:
    """`except Exception` is for a process's edge; the reason stands beside it."""
    unexplained = re.compile(r"except (Base)?Exception\b(?!.*#)")

    def found() -> Iterator[tuple[Path, int, str]]:
        for path in SOURCES:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if unexplained.search(line) and not _logged_or_raised(path, number):
                    yield path, number, line.strip()

    assert not offences(found())


def _logged_or_raised(path: Path, line: int) -> bool:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ExceptHandler) and node.lineno == line:
            return any(
                isinstance(part, ast.Raise)
                or (isinstance(part, ast.Attribute) and part.attr in ("exception", "error"))
                for part in ast.walk(node)
            )
    return False


def test_the_example_environment_is_current() -> None:
    assert (ROOT / "env.example").read_text() == env_example(), (
        'regenerate it: python -c "from shared.config import env_example; '
        "open('env.example','w').write(env_example())\""
    )


def test_every_setting_is_explained_to_operators() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text("utf-8")
    ports = {one.port_setting for one in SERVICES}  # explained together, as `NAME_PORT`
    names = {one.name for one in SETTINGS} - ports | {"NAME_PORT"}
    missing = sorted(name for name in names if f"`{name}`" not in manual)
    assert not missing, f"docs/operations.md doesn't explain {', '.join(missing)}"


def error_classes(
    base: type[errors.LoomaError] = errors.LoomaError,
) -> Iterator[type[errors.LoomaError]]:
    yield base
    for child in base.__subclasses__():
        yield from error_classes(child)


def test_error_codes_are_documented_and_never_shared() -> None:
    documented = {
        (int(code), name, int(status))
        for code, name, status in re.findall(
            r"^\| (\d+) \| `(\w+)` \| (\d+) \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE
        )
    }
    # InternalError is LoomaError's own code: what a client sees of a defect.
    defined = {(kind.code, kind.name, kind.status) for kind in error_classes()}
    assert documented == defined
    assert len({code for code, _, _ in defined}) == len(defined)
    assert len({name for _, name, _ in defined}) == len(defined)


OWN_PATHS = ("/api/v1/gateway/", "/api/v1/batch")


def test_every_route_is_documented_with_its_scope() -> None:
    routed = {(route.method, route.path, route.scope) for route in packaged_routes()}
    documented = set(
        re.findall(
            r"^\| ([A-Z]+) \| `(/[^`]+)` \| `([a-z:]+)` \|",
            (ROOT / "docs/api.md").read_text(),
            re.MULTILINE,
        )
    )
    assert routed <= documented
    # The rest is what the gateway answers itself.
    assert all(path.startswith(OWN_PATHS) for _, path, _ in documented - routed)


def test_no_module_outside_errors_starts_a_hierarchy() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for path in SOURCES:
            if module_of(path) == "shared.errors":
                continue
            for node in ast.walk(TREES[path]):
                if isinstance(node, ast.ClassDef):
                    bases = {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}
                    if bases & {"Exception", "BaseException", "RuntimeError"}:
                        yield path, node.lineno, f"class {node.name}"

    assert not offences(found())


PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]


def normal(requirement: str) -> str:
    name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies() -> list[str]:
    extras = PROJECT["optional-dependencies"].values()
    found = [*PROJECT["dependencies"], *(item for extra in extras for item in extra)]
    return [item for item in found if normal(item) != PROJECT["name"]]


@pytest.mark.parametrize("requirement", dependencies())
def test_a_dependency_says_what_it_is_for(requirement: str) -> None:
    lines = [line for line in PYPROJECT.splitlines() if f'"{requirement}"' in line]
    assert lines
    assert all(re.search(r"#\s*\w", line.rpartition('"')[2]) for line in lines)


def test_the_lock_covers_every_dependency_but_torch() -> None:
    lock = (ROOT / "requirements.txt").read_text()
    pinned = set(re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE))
    wanted = {normal(item) for item in dependencies()}
    assert {normal(item) for item in pinned} >= wanted - {"torch"}
    # Where the lock was compiled is nobody's business, and an absolute path works nowhere else.
    assert [
        line for line in lock.splitlines() if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)
    ] == []
    assert "://" not in lock
    assert "torch==" in PYPROJECT


MONITORING = ROOT / "monitoring" / "prometheus"


@pytest.mark.parametrize("process", PROCESSES, ids=[one.name for one in PROCESSES])
def test_every_process_is_watched(process: Service) -> None:
    """Its own alerts in rules/NAME.yml, and its name among the targets that are always expected."""
    rules = MONITORING / "rules" / f"{process.name}.yml"
    assert rules.is_file(), f"{process.name} has no alerts: write {name_of(rules)}"
    groups = yaml.safe_load(rules.read_text())["groups"]
    assert any("alert" in rule for group in groups for rule in group["rules"]), (
        f"{name_of(rules)} has no alert of {process.name}"
    )
    jobs = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    (static,) = (job["static_configs"] for job in jobs if job["job_name"] == "services")
    target = {
        "targets": [f"{process.name}:{process.port}"],
        "labels": {"service": process.name},
    }
    assert target in static, f"{name_of(MONITORING)}/prometheus.yml: job services lacks {target}"


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(path.name for path in (ROOT / "docs/decisions").iterdir())
    numbers = [re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", name) for name in names]
    assert all(numbers), f"name them NNNN-what-was-decided.md: {names}"
    assert [int(match[1]) for match in numbers if match] == list(range(1, len(names) + 1))


def test_documents_that_are_pointed_to_exist() -> None:
    texts = [*SOURCES, ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = re.compile(r"\]\((?!https?:|#)([^)#]+)|\b(docs/[\w/.-]+\.md)")

    def missing() -> Iterator[str]:
        for path in texts:
            for relative, absolute in links.findall(path.read_text()):
                target = ROOT / absolute if absolute else path.parent / relative
                if (path.suffix == ".md" or absolute) and not target.exists():
                    yield f"{name_of(path)}: {relative or absolute}"

    assert list(missing()) == []
