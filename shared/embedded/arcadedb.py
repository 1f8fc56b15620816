"""The embedded graph database: ArcadeDB with its Bolt plugin, a Java process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.embedded.layout import Layout, free_port, private_directory
from shared.embedded.process import Launch
from shared.embedded.server import Answer, Stopping
from shared.embedded.state import write_private
from shared.embedded.wheels import program, wheel_directory
from shared.secrets import secret

_DATABASE = "looma"
_DISTRIBUTION = "arcadedb-embedded"
_PASSWORD_FILE = "root.password"  # noqa: S105 - the name of a file
_BOLT_PORT, _HTTP_PORT = "bolt.port", "server.httpIncomingPort"
_BOLT_VERSION = bytes([0, 0, 4, 4])
# A magic number, then four versions in the order of preference; all zeros is none.
_BOLT_HELLO = bytes([0x60, 0x60, 0xB0, 0x17]) + _BOLT_VERSION + bytes(12)
_USERS_FILE = "config/server-users.jsonl"
# The quick compiler only (the slower one won nothing on loads and path queries, and starts later),
# and a collector that gives memory back: idle after a bulk load, the process holds about 160 MB,
# where the serial collector kept 480 MB.
_JAVA = (
    "-Xms32m",
    "-Xmx384m",
    "-Xss512k",
    "-XX:+UseG1GC",
    "-XX:G1PeriodicGCInterval=30000",  # ms; idle time in which it would never collect otherwise
    "-XX:ParallelGCThreads=2",
    "-XX:ConcGCThreads=1",
    "-XX:+UseCompactObjectHeaders",
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=48m",
    "-XX:MaxMetaspaceSize=128m",
    "-XX:MaxDirectMemorySize=64m",
    "-XX:MinHeapFreeRatio=10",
    "-XX:MaxHeapFreeRatio=30",
    "-XX:+ExitOnOutOfMemoryError",  # a server without memory is restarted, not left half alive
    "-XX:-UsePerfData",
    "-XX:ErrorFile=log/crash.log",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dfile.encoding=UTF-8",
    "-Dpolyglot.engine.WarnInterpreterOnly=false",
    "--add-modules=jdk.incubator.vector",
    "--enable-native-access=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
)
# The server works in its own directory, so that no path goes through Java's idea of encodings.
_SETTINGS = {
    "server.mode": "production",  # every commit is flushed; no web tool; no files by query
    "server.name": "looma",
    "server.rootPath": ".",
    "server.rootPasswordPath": _PASSWORD_FILE,
    "server.httpIncomingHost": "127.0.0.1",
    "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
    "server.defaultDatabases": f"{_DATABASE}[root]",
    "bolt.host": "127.0.0.1",
    "bolt.defaultDatabase": _DATABASE,
}


@dataclass(frozen=True, slots=True)
class ArcadeServer:
    """Ports: Bolt, then HTTP, by which we ask how it is."""

    layout: Layout
    name: str = "graph"
    program: str = "java"
    stopping: Stopping = ((signal.SIGTERM, 60.0), (signal.SIGKILL, 10.0))

    @property
    def directory(self) -> Path:
        return self.layout.directory(self.name)

    def choose_ports(self, previous: tuple[int, ...]) -> tuple[int, ...]:
        wanted = previous if len(previous) == 2 else (None, None)
        bolt = free_port(wanted[0])
        http = free_port(wanted[1])
        return (bolt, http) if bolt != http else (bolt, free_port())

    def ports_of(self, command: Sequence[str]) -> tuple[int, ...]:
        options = dict(option.split("=", 1) for option in command if "=" in option)
        return tuple(int(options.get(_option(key), 0)) for key in (_BOLT_PORT, _HTTP_PORT))

    def prepare(self) -> None:
        private_directory(self.directory)
        # The users file is the server's own copy of the password, salted and hashed; it is made
        # anew from ours, which may have changed since.
        (self.directory / _USERS_FILE).unlink(missing_ok=True)
        write_private(self.directory / _PASSWORD_FILE, self._password.encode())

    def launch(self, ports: tuple[int, ...]) -> Launch:
        wheel = wheel_directory("arcadedb_embedded", _DISTRIBUTION)
        java = program(wheel / "jre" / "bin" / "java", _DISTRIBUTION)
        bolt, http = ports
        settings = _SETTINGS | {_BOLT_PORT: str(bolt), _HTTP_PORT: str(http)}
        return Launch(
            command=[
                java,
                *_JAVA,
                *(f"{_option(key)}={value}" for key, value in settings.items()),
                "-cp",
                str(wheel / "jars" / "*"),
                "com.arcadedb.server.ArcadeDBServer",
            ],
            directory=self.directory,
            log=self.layout.log(self.name),
        )

    async def probe(self, ports: tuple[int, ...]) -> Answer:
        # Not by the Bolt driver, which takes 70 MB: what watches the stores stays small.
        bolt, http = ports
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                answer = await client.post(
                    f"http://127.0.0.1:{http}/api/v1/query/{_DATABASE}",
                    json={"language": "cypher", "command": "RETURN 1"},
                    auth=("root", self._password),
                )
            speaks_bolt = answer.status_code == 200 and await _shakes_hands(bolt)
        except (httpx.HTTPError, OSError, EOFError):
            return Answer.SILENT
        if answer.status_code in (401, 403):
            return Answer.REFUSED
        return Answer.READY if speaks_bolt else Answer.SILENT

    def url(self, ports: tuple[int, ...]) -> str:
        return f"bolt://root:{self._password}@127.0.0.1:{ports[0]}/{_DATABASE}"

    def address(self, ports: tuple[int, ...]) -> str:
        return f"127.0.0.1:{ports[0]}"

    @property
    def _password(self) -> str:
        return secret(self.layout.home, "graph").decode()


async def _shakes_hands(port: int) -> bool:
    """Whether a server there agrees on Bolt 4.4 (Bolt protocol specification, "Handshake")."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_BOLT_HELLO)
        return await reader.readexactly(4) == _BOLT_VERSION
    finally:
        writer.close()


def _option(key: str) -> str:
    return f"-Darcadedb.{key}"
