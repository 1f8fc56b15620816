"""Leases and due times go by the database's clock: a process whose clock jumps harms nobody."""

from __future__ import annotations

import ast

from tests.sources import SOURCES, TREES, module_of, name_of, within

_CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime"}


def test_no_module_of_the_jobs_asks_the_clock_of_its_machine():
    """`time.monotonic` doesn't jump; `schedules.now` asks the database."""
    asked = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        if within(module_of(path), "shared.jobs")
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _CLOCKS
        and ast.unparse(node.func) != "schedules.now"
    ]
    assert asked == []
