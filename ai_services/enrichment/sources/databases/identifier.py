"""Names of tables and columns as they may stand in a query: by a pattern, and quoted.

Parameters can't be names, so a name is the one thing that is ever written into a query. It comes from
the sources file or from the source's own catalogue, and neither is believed.
"""

from __future__ import annotations

import re
from typing import Final

from shared.errors import InvalidInput

_NAME: Final = re.compile(r"[^\W\d][\w$]{0,63}")


def is_identifier(name: str) -> bool:
    """Whether it is letters, digits, _ and $, 64 at most, and begins with no digit."""
    return _NAME.fullmatch(name) is not None


def quoted(name: str, mark: str) -> str:
    """`name` between `mark`s (the backtick of MySQL, the double quote of PostgreSQL).

    A table may have its schema before it and a dot. InvalidInput for anything else.
    """
    parts = name.split(".")
    if len(parts) > 2 or not all(map(is_identifier, parts)):
        raise InvalidInput.of(
            "name",
            f"{name[:100]!r} is no name of a table or column that can be read",
            "use letters, digits, _ and $; make a view where a name has anything else",
        )
    return ".".join(f"{mark}{part}{mark}" for part in parts)
