"""Connections that have left HTTP (RFC 9110 §7.8), on their way from their reader to a successor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class UpgradedConnection:
    """`received` has come already and belongs to the new protocol; `full`: writing is paused."""

    transport: asyncio.Transport
    received: bytes
    full: bool


class Successor(Protocol):
    """What a client's connection carries after HTTP."""

    async def run(self) -> None:
        """Until it has ended; the connection is closed then."""
        ...

    def stop(self) -> None:
        """End soon: the server stops. May be called again and again."""
        ...
