"""Tables that are spread over machines by organisation: no statement asks more than one of them.

Citus sends a statement to one machine if every distributed table in it is bound to one value of the
distribution column, and joins on that machine if all of them are bound to the same one. The layout is
told in docs/decisions/0022-spread-by-organisation.md.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

import pytest
import sqlglot
from sqlglot import exp

import ai_services.enrichment
import ai_services.portrait

DISTRIBUTED: Final = frozenset(
    {
        "call_record_enriched", "call_transcript", "call_insight", "call_leg", "portrait_change",
        "portrait_hour", "portrait_duration", "period_registry", "period_summary",
        "user_portrait_snapshot", "customer_portrait_snapshot", "task_portrait_snapshot",
        "agent_portrait_snapshot",
    }
)  # fmt: skip
# What asks all machines at once, seldom, and only for numbers: gauges, and who has work.
OF_ALL: Final = frozenset(
    {"_WAITING", "pending", "portraits_kept", "count_waiting", "oldest_unanalysed"}
)
_STATEMENT: Final = re.compile(r"^\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_PLACE: Final = re.compile(r"\$(\d+)")
_HOLE: Final = re.compile(r"\{\w*\}")  # that a statement's parts are put into


def modules() -> Iterator[ModuleType]:
    for package in (ai_services.portrait, ai_services.enrichment):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__") and ".training" not in found.name:
                yield importlib.import_module(found.name)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and _STATEMENT.match(value):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)


def written(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Every text of a module: its constants, by their names, and what stands in its functions."""
    for name, value in vars(module).items():
        for text in texts(value):
            yield name, text
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                with suppress(NameError):  # of a function's own: no query is built so
                    code = compile(ast.Expression(node), module.__name__, "eval")
                    for text in texts(eval(code, vars(module))):
                        yield function.name, text


def statements() -> Iterator[tuple[str, str]]:
    seen = set()
    for module in modules():
        for name, text in written(module):
            mentions = any(re.search(rf"\b{table}\b", text) for table in DISTRIBUTED)
            if name not in OF_ALL and mentions and text not in seen:
                seen.add(text)
                yield f"{module.__name__}.{name}", text


STATEMENTS: Final = list(statements())


def unbound(text: str) -> list[str]:
    """The distributed tables of a statement that nothing binds to one organisation."""
    tree = _tree(_PLACE.sub(r":p\1", text))
    return [
        table.name
        for table in tree.find_all(exp.Table)
        if table.name in DISTRIBUTED and not _is_bound(table)
    ]


def _tree(text: str) -> exp.Expr:
    """Of a whole statement; of one with parts to be put in, and of the beginning of several, whole then."""
    for part in ("", "true"):
        for end in ("", " SELECT 1"):
            with suppress(sqlglot.errors.ParseError):
                return sqlglot.parse_one(_HOLE.sub(part, text) + end, read="postgres")
    raise AssertionError(f"no statement: {text}")


def _is_bound(table: exp.Table) -> bool:
    scope = table.find_ancestor(exp.Select, exp.Update, exp.Delete, exp.Insert)
    if isinstance(scope, exp.Insert):
        target = scope.this
        return isinstance(target, exp.Schema) and "org_id" in {
            one.name for one in target.expressions
        }
    assert scope is not None
    name = table.alias or table.name
    conditions = [
        scope.args.get("where"),
        *(join.args.get("on") for join in scope.args.get("joins") or ()),
    ]
    for condition in conditions:
        if condition is None:
            continue
        for equal in condition.find_all(exp.EQ, exp.Is):
            if _names(equal, name):
                return True
    return any(
        "org_id" in {one.name for one in join.args.get("using") or ()}
        for join in scope.args.get("joins") or ()
    )


def _names(equal: exp.Expression, table: str) -> bool:
    return any(
        column.name == "org_id" and column.table in ("", table)
        for column in equal.find_all(exp.Column)
    )


def test_there_are_statements() -> None:
    assert len(STATEMENTS) > 80


@pytest.mark.parametrize(
    "text",
    [
        "SELECT count(*) FROM call_record_enriched WHERE user_id = $1",
        "SELECT * FROM period_summary s JOIN call_record_enriched c USING (period_key) WHERE s.org_id = $1",
        "DELETE FROM portrait_change WHERE seq < $1",
        "UPDATE call_record_enriched SET rounds = 0",
        "INSERT INTO portrait_hour (subject) VALUES ($1)",
        "WITH c AS (SELECT * FROM call_transcript) SELECT * FROM c WHERE org_id = $1",
    ],
)
def test_what_asks_all_machines_is_found(text: str) -> None:
    assert unbound(text)


def test_every_statement_asks_one_machine() -> None:
    assert {name: free for name, text in STATEMENTS if (free := unbound(text))} == {}


def test_what_may_ask_all_of_them_does() -> None:
    """Else it would stand in the list in vain, and hide another of its name."""
    found = {
        name
        for module in modules()
        for name, text in written(module)
        if name in OF_ALL and unbound(text)
    }
    assert found == OF_ALL
