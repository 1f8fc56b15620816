"""Ports for the processes that `looma up` starts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection

from shared.errors import ConfigError
from shared.port_holder import holder


def _refusal(host: str, port: int) -> OSError | None:
    """Why a server could not listen there now, None if it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: a port with connections in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def any_free(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def fixed(host: str, port: int, setting: str) -> int:
    """The port itself; ConfigError that names `setting` if it can't be had."""
    refusal = _refusal(host, port)
    if refusal is None:
        return port
    if refusal.errno == errno.EADDRINUSE:
        raise ConfigError(
            f"{setting}: port {port} on {host} is taken by {holder(port)}. "
            f"Stop that one, or choose a free port: {setting}={any_free(host)}"
        )
    raise ConfigError(
        f"{setting}: can't listen on {host}:{port}: {refusal.strerror}. "
        "Check BIND_HOST and the port."
    )


def preferred(host: str, port: int, taken: Collection[int] = ()) -> int:
    """The port unless it is taken, then any free one: peers find each other through the registry."""
    if port not in taken and _refusal(host, port) is None:
        return port
    return any_free(host)
