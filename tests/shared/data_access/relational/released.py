"""Writes down the SQL of this release: `python -m tests.shared.data_access.relational.released`.

Run it when a release is made, not before: the next one's migrations are tried against what it wrote.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.sources import ROOT

RELEASED: Final = Path(__file__).with_name("released.sql")
_ROOMS: Final = ("ai_services", "shared/data_access")
_METHODS: Final = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "stream"}
_SQL: Final = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|CREATE TEMPORARY)\b")


def statements() -> list[str]:
    """Every statement on tables that stands in the code, or is made of its constants."""
    found = {
        text
        for room in _ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.name != "migrate.py"  # it looks first whether its tables are there
        for text in _statements_of(path)
    }
    return sorted(text for text in found if _SQL.match(text) and " %" not in text)


def _statements_of(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    asked = [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _METHODS
        and node.args
    ]
    if not asked:
        return
    names = vars(import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)))
    for expression in asked:
        text = _value(expression, names)
        if isinstance(text, str):
            yield text.strip()


def _value(expression: ast.expr, names: dict[str, Any]) -> object:
    """What it is at import; None for one that depends on a call's arguments."""
    if any(isinstance(node, ast.Await | ast.Call) for node in ast.walk(expression)):
        return None
    try:
        return eval(compile(ast.Expression(expression), "statement", "eval"), dict(names))
    except NameError:
        return None


if __name__ == "__main__":
    RELEASED.write_text("".join(f"{text}\n;\n" for text in statements()), "utf-8")
