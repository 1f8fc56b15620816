"""What was compiled is what the sources say, and they do nothing that compiled code must not."""

from __future__ import annotations

import ast
import hashlib
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.compiled import check_sources, is_compiled
from shared.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
SETUP: dict[str, Any] = runpy.run_path(str(ROOT / "setup.py"))
HOT_PATH: tuple[str, ...] = SETUP["HOT_PATH"]


def test_the_machine_code_that_these_tests_run_is_that_of_the_sources() -> None:
    if is_compiled():
        check_sources()


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A room of a gateway in which one module has been compiled."""
    room = tmp_path / "gateway" / "resilience"
    room.mkdir(parents=True)
    source = room / "breaker.py"
    source.write_text("OLD = 1\n")
    (room / "breaker.cpython-311.so").write_bytes(b"")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    record = tmp_path / "gateway" / "compiled_sources.txt"
    record.write_text(f"{digest} gateway/resilience/breaker.py\n")
    return room


def test_a_source_that_has_changed_since_is_named_with_the_way_out(room: Path) -> None:
    check_sources(room.parent)
    (room / "breaker.py").write_text("NEW = 1\n")
    with pytest.raises(
        ConfigError, match=r"gateway/resilience/breaker.py has changed.*make compile"
    ):
        check_sources(room.parent)


def test_machine_code_of_unknown_sources_is_refused_in_whichever_room(room: Path) -> None:
    (room.parent / "compiled_sources.txt").unlink()
    with pytest.raises(ConfigError, match="nothing tells from which sources"):
        check_sources(room.parent)


def test_every_source_of_the_gateway_is_recorded() -> None:
    recorded = {line.partition(" ")[2] for line in SETUP["record"]().splitlines()}
    there = {str(one.relative_to(ROOT)) for one in (ROOT / "gateway").rglob("*.py")}
    assert there <= recorded


def test_sources_that_were_never_compiled_are_fine(tmp_path: Path) -> None:
    check_sources(tmp_path)


# What follows are the rules of docs/decisions/0012-compiled-hot-path.md.

TREES = {
    path: ast.parse((ROOT / path).read_text("utf-8"))
    for path in HOT_PATH
    if (ROOT / path).is_file()
}
# Typing's forms, enumerations and errors are made as the interpreter makes them; so are the two
# that Prometheus calls when somebody asks for the page.
FORMS = {"ABC", "Generic", "IntEnum", "Protocol", "asyncio.CancelledError", "Collector"}


def waits(tree: ast.AST) -> Iterator[int]:
    """Lines that wait inside `except`, `finally` or `async with`."""
    for node in ast.walk(tree):
        blocks: list[ast.AST] = [node] if isinstance(node, ast.AsyncWith) else []
        if isinstance(node, ast.Try):
            blocks += [*node.handlers, *node.finalbody]
        for block in blocks:
            for part in ast.walk(block):
                if isinstance(part, ast.Await | ast.AsyncFor | ast.AsyncWith):
                    yield part.lineno


def classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def test_every_module_of_the_hot_path_is_there_once() -> None:
    assert [path for path in HOT_PATH if path not in TREES] == []
    assert len(set(HOT_PATH)) == len(HOT_PATH)


def test_no_compiled_module_waits_where_an_error_is_being_handled() -> None:
    """The error would leak into other tasks, and a bare `raise` would no longer know it."""
    assert [f"{path}:{line}" for path, tree in TREES.items() for line in waits(tree)] == []


def test_compiled_classes_have_compiled_bases() -> None:
    errors = ast.parse((ROOT / "shared/errors.py").read_text("utf-8"))
    known = {one.name for tree in (*TREES.values(), errors) for one in classes(tree)} | FORMS
    assert [
        f"{path}:{one.lineno}: {one.name} is a {ast.unparse(base)}"
        for path, tree in TREES.items()
        for one in classes(tree)
        for base in one.bases
        if ast.unparse(base).partition("[")[0] not in known
    ] == []
