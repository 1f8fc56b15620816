"""Ports for servers that tests stop and start again, or expect nobody at."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from typing import Final

# Below those that the kernel gives to connections: a port that nobody listens on stays free.
_OURS: Final = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listened on a moment ago."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.choice(_OURS)))
            return int(probe.getsockname()[1])
