"""What no source does, wherever it lies."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.sources import SOURCES, TREES, module_of, name_of, offences


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
