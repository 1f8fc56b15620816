"""A second way from a text to its answer: Python's syntax tree written as SQL of DuckDB.

It shares no code with the package, knows neither types nor ranges, and is right for small numbers only.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import duckdb

_INFIX = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
_COMPARE = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=", ast.NotEq: "<>",
}  # fmt: skip


def by_duckdb(
    texts: Sequence[str], columns: dict[str, str], rows: Sequence[Sequence[Any]]
) -> list[tuple[bool | None, ...]]:
    """Of each row, the answer of each text; `columns` are names and types of DuckDB, in the rows' order."""
    with duckdb.connect(config={"threads": 1}) as connection:
        declared = ", ".join(f'"{name}" {of_type}' for name, of_type in columns.items())
        connection.execute(f"CREATE TABLE drawn (id INTEGER, {declared})")
        places = ", ".join("?" for _ in range(len(columns) + 1))
        connection.executemany(
            f"INSERT INTO drawn VALUES ({places})",
            [[place, *row] for place, row in enumerate(rows)],
        )
        listed = ", ".join(_sql(ast.parse(text, mode="eval").body) for text in texts)
        return connection.execute(f"SELECT {listed} FROM drawn ORDER BY id").fetchall()


def _sql(node: ast.expr) -> str:
    match node:
        case ast.BoolOp(op=op, values=values):
            return f"({(' AND ' if isinstance(op, ast.And) else ' OR ').join(map(_sql, values))})"
        case ast.UnaryOp(op=ast.Not(), operand=of):
            return f"(NOT {_sql(of)})"
        case ast.UnaryOp(op=ast.USub(), operand=of):
            return f"(-{_sql(of)})"
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [left, *others]
            pairs = [_pair(*three) for three in zip(sides, ops, others, strict=False)]
            return f"({' AND '.join(pairs)})"
        case ast.BinOp(left=left, op=op, right=right):
            return _arithmetic(op, _sql(left), _sql(right))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _called(name, [_sql(one) for one in args])
        case ast.Attribute(attr=attribute, value=ast.Name(id=name)):
            return f'"{name}.{attribute}"'
        case ast.Name(id=name):
            return f'"{name}"'
        case ast.Constant(value=bool() as value):
            return str(value)
        case ast.Constant(value=int() | float() as value):
            return f"({value}::{'DOUBLE' if isinstance(value, float) else 'HUGEINT'})"
        case ast.Constant(value=str() as value):
            return "'" + value.replace("'", "''") + "'"
    raise NotImplementedError(ast.dump(node))


def _pair(left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
    if isinstance(op, ast.In | ast.NotIn):
        assert isinstance(right, ast.List | ast.Tuple)
        word = "NOT IN" if isinstance(op, ast.NotIn) else "IN"
        return f"({_sql(left)} {word} ({', '.join(map(_sql, right.elts))}))"
    return f"({_sql(left)} {_COMPARE[type(op)]} {_sql(right)})"


def _arithmetic(op: ast.operator, left: str, right: str) -> str:
    match op:
        case ast.Div():
            return f"({left}::DOUBLE / nullif({right}, 0)::DOUBLE)"
        case ast.FloorDiv():
            return f"floor({left}::DOUBLE / nullif({right}, 0)::DOUBLE)::HUGEINT"
        case ast.Mod():
            down = f"floor({left}::DOUBLE / nullif({right}, 0)::DOUBLE)::HUGEINT"
            return f"({left} - {right} * {down})"
    return f"({left} {_INFIX[type(op)]} {right})"


def _called(name: str, of: Sequence[str]) -> str:
    match name:
        case "int":
            return f"trunc({of[0]})::HUGEINT"
        case "float":
            return f"({of[0]})::DOUBLE"
        case "len":
            return f"length({of[0]})"
        case "abs":
            return f"abs({of[0]})"
        case "min" | "max":
            known = " AND ".join(f"{one} IS NOT NULL" for one in of)
            choose = "least" if name == "min" else "greatest"
            return f"(CASE WHEN {known} THEN {choose}({', '.join(of)}) END)"
        case "round" if len(of) == 1:
            return f"round_even({of[0]}, 0)"
    raise NotImplementedError(name)
