"""The sockets of the processes that `looma up` starts.

The supervisor opens them and hands them over: from the moment at which a port is chosen it is
taken, and whoever else wants it, another platform that starts in the same second too, finds that
out and takes the next. Looking first and opening later would leave a moment in between.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, replace
from typing import Final

from shared.serving.server import listen, listening

_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process shall listen. `setting` names the port if it can't be another one."""

    host: str
    port: int
    setting: str = ""

    def with_port(self, port: int) -> Address:
        return replace(self, port=port)

    @property
    def url(self) -> str:
        wildcard = self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
        return f"http://{'127.0.0.1' if wildcard else self.host}:{self.port}"


def claim(address: Address) -> socket.socket:
    """A socket that listens there, or on the next free port where that may be another one.

    ConfigError if it can't be had; OSError for a host without a free port.
    """
    if address.setting:
        return listen(address.host, address.port, address.setting)
    for port in (address.port, *(0 for _ in range(_TRIES))):
        try:
            return listening(address.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"no port of {address.host} is free")
