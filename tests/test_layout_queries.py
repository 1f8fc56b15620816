"""Where queries stand, and that none is built from input."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.sources import SOURCES, TREES, module_of, offences, within

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


def test_the_command_line_asks_the_stores_of_services() -> None:
    """It has no query of its own: those of a table lie with the service that owns it."""
    assert not offences(
        (path, node.lineno, "SQL")
        for path in SOURCES
        if within(module_of(path), "looma_cli")
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Constant | ast.JoinedStr) and _SQL.search(constants(node))
    )
