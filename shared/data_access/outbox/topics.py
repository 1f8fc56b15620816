"""What is announced over the outbox, and which projections listen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TOPICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "calls": ("search", "graph"),
        "portraits": ("vectors",),
    }
)
