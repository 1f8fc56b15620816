"""What Cypher can't take as parameters: names of labels, of edge types and of properties."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shared.errors import Detail, InvalidInput

Scalar = str | int | float | bool

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_RESERVED = frozenset({"org_id", "id", "edge_key"})
_INT64 = 2**63


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def cypher(template: str, *, properties: Iterable[str] = (), **names: str) -> str:
    """`template` with each <name> replaced by that name, and <properties> by their assignments.

    Raises InvalidInput for a name that isn't one: nothing else gets into a query's text.
    """
    for slot, name in names.items():
        template = template.replace(f"<{slot}>", f"`{_checked(slot, name)}`")
    assignments = "".join(
        f", `{_checked('property', name)}`: row.p.`{name}`" for name in properties
    )
    return template.replace("<properties>", assignments)


def check_properties(properties: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A copy of `properties`; raises InvalidInput for what a property graph can't hold."""
    for name, value in properties.items():
        _checked("property", name)
        if name in _RESERVED:
            raise InvalidInput(
                "A property has a name that identifies things.",
                details=[Detail("property", name, "another name")],
            )
        if isinstance(value, int) and not -_INT64 <= value < _INT64:
            raise InvalidInput(
                "A property's number is too large.",
                details=[Detail(name, str(value), "64 bits, or a text")],
            )
    return dict(properties)


def own_properties(properties: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A stored thing's properties without those that identify it."""
    return {name: value for name, value in properties.items() if name not in _RESERVED}


def _checked(slot: str, name: str) -> str:
    if not is_name(name):
        raise InvalidInput(
            "A label, type or property has no such name.",
            details=[Detail(slot, repr(name[:80]), "a letter, then up to 62 letters, digits or _")],
        )
    return name
