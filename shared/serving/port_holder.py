"""Who listens on a port of this machine, told to whoever finds it taken."""

from __future__ import annotations

from typing import Final

import psutil

from shared.serving.supervised import home_of

_UNKNOWN: Final = "another process"


def holder(port: int) -> str:
    """In words for the middle of a sentence; 'another process' if it is another user's."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.pid is not None
            if listens and connection.laddr and connection.laddr.port == port:
                return _described(psutil.Process(connection.pid))
    except (psutil.Error, OSError):
        pass  # it may have ended meanwhile, or this system shows nobody else's
    return _UNKNOWN


def _described(process: psutil.Process) -> str:
    words = process.cmdline()
    home = home_of(words)
    if home is not None:
        return f"process {process.pid}: Looma AI on {home}"
    for word in words:
        if word == "gateway" or word.startswith("ai_services."):
            return f"process {process.pid} (python -m {word})"
    return f"process {process.pid} ({process.name()})"
