"""The span of one call to a store, by OpenTelemetry's conventions for database clients.

It tells which store, which operation, on which table or collection, and the type of an error: no
statement's text, no parameter, no key, no value. It is a child of the span that is current; where
none records, as in polling that finds nothing to do, there is none.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from shared.telemetry.spans import TimedSpan, begin, fail, type_of

_NONE: Final[AbstractContextManager[None]] = nullcontext()
_CHANGES: Final = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE)\b")
_WORD: Final = re.compile(r"\w+")
# SQL's tables, which functions that give rows are not, and Cypher's labels.
_TARGET: Final = re.compile(
    r"\bINTO\s+([a-z_]\w*)|\b(?:FROM|UPDATE)\s+(?:ONLY\s+)?([a-z_]\w*)\b(?!\s*\()|:`(\w+)`"
)
_NAMED: Final = re.compile(
    r"\b([a-z_]\w*)(?:\s*\([^()]*\))?\s+AS\s+(?:(?:NOT\s+)?MATERIALIZED\s+)?\("
)
_STATEMENTS: Final = 1024


def store_span(
    system: str, namespace: str, what: str, collection: str
) -> AbstractContextManager[None]:
    """A span around the block, if the current one records.

    `what` is an operation's name, or an SQL or Cypher statement from which it is taken.
    """
    if not trace.get_current_span().is_recording():
        return _NONE
    operation, found = summary(what)
    return _StoreSpan(system, namespace, operation, collection or found)


class _StoreSpan(AbstractContextManager[None]):
    """Not made current: nothing begins inside a call to a store."""

    __slots__ = ("_span",)

    def __init__(self, system: str, namespace: str, operation: str, collection: str) -> None:
        attributes = {"db.system.name": system, "db.operation.name": operation}
        if namespace:
            attributes["db.namespace"] = namespace
        if collection:
            attributes["db.collection.name"] = collection
        name = f"{operation} {collection or namespace or system}"
        self._span: TimedSpan = begin(name, SpanKind.CLIENT, attributes)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            cause: Any = error.__cause__ or error
            fail(self._span.span, type_of(cause))
            code = getattr(cause, "sqlstate", None) or getattr(cause, "code", None)
            if isinstance(code, str):
                self._span.span.set_attribute("db.response.status_code", code)
        self._span.end()


@lru_cache(_STATEMENTS)
def summary(what: str) -> tuple[str, str]:
    """(operation, the first table or label that it is about, or '').

    Of a statement with common table expressions the operation is what changes rows, if one does.

    >>> summary("WITH old AS (DELETE FROM outbox RETURNING *) SELECT count(*) FROM old")
    ('DELETE', 'outbox')
    """
    first = _WORD.search(what)
    operation = first[0] if first else "unknown"
    if operation == "WITH":
        changes = _CHANGES.search(what)
        operation = changes[1] if changes else "SELECT"
    named = set(_NAMED.findall(what))
    targets = (match[match.lastindex or 0] for match in _TARGET.finditer(what))
    return operation, next((one for one in targets if one not in named), "")
