"""`python -m benchmarks NAME [--quick]`: run one benchmark and print what it measured.

A benchmark is a module of this package whose docstring's first line says what it measures, with
`run(quick: bool)`, a function or a coroutine, that returns its figures: label (with the unit) →
value. A table for people goes to stderr with whatever a benchmark says while it works; the last
line on stdout is one JSON object, the figures under the benchmark's own keys.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import importlib
import inspect
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

Figures = Mapping[str, float | int | str | None]


def benchmarks() -> dict[str, str]:
    """Benchmark → the first line of its docstring, without importing any."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        tree = ast.parse(path.read_text())
        if any(getattr(node, "name", None) == "run" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def run(name: str, *, quick: bool) -> Figures:
    result = importlib.import_module(f"benchmarks.{name}").run(quick=quick)
    figures: Figures = asyncio.run(result) if inspect.iscoroutine(result) else result
    return figures


def show(name: str, figures: Figures, seconds: float) -> None:
    width = max((len(label) for label in figures), default=0)
    print(f"{name}  (took {seconds:.1f} s)", file=sys.stderr)
    for label, value in figures.items():
        print(f"  {label:<{width}}  {_shown(value):>14}", file=sys.stderr)


def _shown(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "not measured"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def main() -> int:
    known = benchmarks()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run one benchmark and print what it measured.",
        epilog="\n".join(["benchmarks:", *(f"  {name:<12}  {doc}" for name, doc in known.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=list(known), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="a smaller load: seconds, not minutes")
    arguments = parser.parse_args()
    if arguments.name is None:
        parser.print_help(sys.stderr)
        return 2
    started = time.perf_counter()
    figures = run(arguments.name, quick=arguments.quick)
    seconds = time.perf_counter() - started
    show(arguments.name, figures, seconds)
    print(json.dumps({"benchmark": arguments.name, "quick": arguments.quick, **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
