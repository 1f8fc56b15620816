"""What a module offers, somebody takes."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.sources import ROOT, SOURCES, TREES, module_of

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def offered(path: Path) -> Iterator[str]:
    """The public functions, classes and constants of a module.

    A function that is registered where it stands (`@users.command("list")`) is taken already.
    """
    for node in TREES[path].body:
        names: list[str] = []
        if isinstance(node, Definition):
            names = [] if any(map(registers, node.decorator_list)) else [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = (part for target in targets for part in ast.walk(target))
            names = [part.id for part in parts if isinstance(part, ast.Name)]
        yield from (f"{module_of(path)}.{name}" for name in names if not name.startswith("_"))


def registers(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)


def dotted(node: ast.expr) -> str:
    """'a.b.c' of an expression that is no more than that; else ''."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            before = dotted(node.value)
            return f"{before}.{node.attr}" if before else ""
        case _:
            return ""


def taken(path: Path, tree: ast.Module) -> Iterator[str]:
    """The names, with their modules, that a file imports, reaches through an import, or has itself."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                top = one.name.partition(".")[0]
                bound |= {one.asname: one.name} if one.asname else {top: top}
        elif isinstance(node, ast.ImportFrom):
            bound |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    yield from bound.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            if first in bound:
                yield f"{bound[first]}.{rest}"
    for statement in tree.body:
        itself = statement.name if isinstance(statement, Definition) else ""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id != itself:
                yield f"{module_of(path)}.{node.id}"


def test_a_public_name_has_a_reader_outside_its_own_tests() -> None:
    others = [
        ROOT / "setup.py",
        *(ROOT / "benchmarks").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
    ]
    readers = defaultdict[str, set[str]](set)
    for path, tree in {**TREES, **{path: ast.parse(path.read_text()) for path in others}}.items():
        for name in taken(path, tree):
            readers[name].add(path.name)
    unread = {
        name
        for path in SOURCES
        for name in offered(path)
        if not readers[name] - {f"test_{path.name}"}
    }
    assert unread == set()
