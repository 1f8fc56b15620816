"""From a text to Python's syntax tree, with the place of every node."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from shared.expressions.errors import ExpressionInvalid, Finding
from shared.expressions.lexical import scanned
from shared.expressions.limits import MAX_DEPTH


@dataclass(frozen=True, slots=True)
class Parsed:
    source: str
    tree: ast.expr

    def finding(self, node: ast.expr, problem: str, hint: str) -> Finding:
        return Finding(*_place(self.source, node), problem, hint)

    def refused(self, node: ast.expr, problem: str, hint: str) -> ExpressionInvalid:
        return ExpressionInvalid([self.finding(node, problem, hint)])


def parse(text: str) -> Parsed:
    """The tree of an expression, at most MAX_DEPTH deep; ExpressionInvalid."""
    source = scanned(text)
    try:
        # Within brackets lines may be broken anywhere; `scanned` saw to it that they are balanced.
        tree = ast.parse(f"({source}\n)", mode="eval").body
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        lines = source.split("\n")
        line = min(line, len(lines))
        column = max(1, min(column - (line == 1), len(lines[line - 1]) + 1))
        finding = Finding(
            line, column, "this is no expression", "look for what is missing or too much"
        )
        raise ExpressionInvalid([finding]) from None
    except (ValueError, RecursionError, MemoryError):
        raise _too_deep(1, 1) from None
    parsed = Parsed(source, tree)
    deep = _deeper_than(tree, MAX_DEPTH)
    if deep is not None:
        raise _too_deep(*_place(source, deep))
    return parsed


def _deeper_than(tree: ast.expr, depth: int) -> ast.expr | None:
    """A node that lies deeper, if there is one; without recursion."""
    level: list[ast.expr] = [tree]
    for _ in range(depth):
        level = [
            child
            for node in level
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.expr)
        ]
    return level[0] if level else None


def _too_deep(line: int, column: int) -> ExpressionInvalid:
    problem = f"operators are nested more than {MAX_DEPTH} deep"
    return ExpressionInvalid([Finding(line, column, problem, "write several shorter expressions")])


def _place(source: str, node: ast.expr) -> tuple[int, int]:
    """`ast` counts bytes, and the bracket before the first line."""
    line = source.split("\n")[node.lineno - 1].encode()
    offset = node.col_offset - (node.lineno == 1)
    return node.lineno, len(line[:offset].decode(errors="replace")) + 1
