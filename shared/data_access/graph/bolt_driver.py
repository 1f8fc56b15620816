"""The neo4j driver, without the array libraries that it loads just in case.

If numpy, pandas or pyarrow are installed it imports them to be able to take and give their types:
36 MB and a fifth of a second for pyarrow alone. The graph port carries plain values only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Make importing these fail, unless somebody has them loaded anyway."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is Python's mark for it
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _absent("numpy", "pandas", "pyarrow"):
    from neo4j import (
        AsyncDriver,
        AsyncGraphDatabase,
        AsyncManagedTransaction,
        AsyncSession,
        NotificationMinimumSeverity,
        exceptions,
    )

__all__ = [
    "AsyncDriver",
    "AsyncGraphDatabase",
    "AsyncManagedTransaction",
    "AsyncSession",
    "NotificationMinimumSeverity",
    "exceptions",
]
