"""The JSON that every answer of a benchmark holds, in any size."""

from __future__ import annotations

import json
from typing import Final

SMALL_BYTES: Final = 230


def filled(size: int) -> bytes:
    """A JSON document of exactly `size` bytes."""
    empty = json.dumps({"code": 0, "data": "", "request_id": "0" * 36}, separators=(",", ":"))
    return empty.replace('""', '"' + "x" * (size - len(empty)) + '"', 1).encode()


SMALL: Final = filled(SMALL_BYTES)
