"""An answer that the gateway makes itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


PageMaker = Callable[[], Awaitable[Page]]


def json_page(data: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Page:
    return Page(orjson.dumps(data), status=status, headers=headers)
