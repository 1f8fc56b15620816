"""Running one Sanic application on one socket: start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sanic import Sanic

from shared.errors import ConfigError
from shared.serving.port_holder import holder

log = structlog.get_logger()


def listen(host: str, port: int, setting: str, *, shared: bool = False) -> socket.socket:
    """A bound, listening socket; ConfigError that names `setting` if the port is taken.

    `shared`: other processes of the same user listen on the port as well, and the kernel spreads
    connections over them.
    """
    try:
        return listening(host, port, shared=shared)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"{setting}: port {port} on {host} is taken by {holder(port)}. "
                f"Stop that one, or set {setting} to a free port, e.g. {setting}={port + 1}."
            ) from error
        raise ConfigError(
            f"{setting}: can't listen on {host}:{port}: {error.strerror}. "
            "Check BIND_HOST and the port."
        ) from error


def listening(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """As `listen`; OSError if the port can't be had. Port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(1024)  # of two that bound at once one is refused here
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def handed_over(descriptor: int) -> socket.socket:
    """The listening socket that whoever started this process gave it; ConfigError if it is none."""
    try:
        sock = socket.socket(fileno=descriptor)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.detach()  # whosever it is
            raise OSError(errno.EINVAL, "it does not listen")
    except OSError as error:
        raise ConfigError(
            f"LISTEN_FD: descriptor {descriptor} is no listening socket: {error.strerror}. "
            "Leave LISTEN_FD out: the process opens its port itself then."
        ) from error
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def serving(
    app: Sanic[Any, Any], sock: socket.socket, drain_seconds: float
) -> AsyncIterator[None]:
    """Serve `app` on `sock` inside the block; on leaving it, let work in flight finish.

    New connections are refused first, idle ones closed, busy ones awaited up to
    `drain_seconds` and then cut.
    """
    # Sanic leaves these methods untyped.
    server: Any = await app.create_server(sock=sock, return_asyncio_server=True, backlog=1024)
    await server.startup()
    await server.before_start()
    await server.after_start()
    try:
        yield
    finally:
        await _drain(server, drain_seconds)
        await server.before_stop()
        await server.after_stop()
        app.state.is_started = False


async def _drain(server: Any, seconds: float) -> None:
    server.server.close()
    deadline = asyncio.get_running_loop().time() + seconds
    for connection in list(server.connections):
        connection.close_if_idle()
    while server.connections and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
        for connection in list(server.connections):
            connection.close_if_idle()
    if server.connections:
        log.warning("connections cut after the drain", count=len(server.connections))
    for connection in list(server.connections):
        connection.abort()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.server.wait_closed(), 1)


async def wait_for_signal() -> str:
    """Return the name of the first SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[str] = loop.create_future()

    def handler(name: str) -> Callable[[], None]:
        def receive() -> None:
            if not received.done():
                received.set_result(name)

        return receive

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handler(number.name))
    try:
        return await received
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
