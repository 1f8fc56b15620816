"""Real servers that run outside of the platform: stopped, or killed and started again as they were.

SERVERS_PIDS names them (name=pid, separated by spaces). Whoever started them does not start them
again, so what it takes is read from the process before it is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psutil

from shared.errors import StoreError

URL_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "neo4j": "TEST_NEO4J_URL",
        "weaviate": "TEST_WEAVIATE_URL",
        "elasticsearch": "TEST_ELASTICSEARCH_URL",
    }
)
STARTS_WITHIN_S = 120


@dataclass(frozen=True, slots=True)
class Start:
    """All that it takes to start a process once more; made while it runs."""

    command: list[str]
    directory: str
    environment: dict[str, str]
    user: int
    group: int
    output: Path
    given: bytes  # on its standard input, which then stays open

    @classmethod
    def of(cls, pid: int) -> Start:
        process = psutil.Process(pid)
        command = process.cmdline()
        return cls(
            command,
            process.cwd(),
            process.environ(),
            process.uids().real,
            process.gids().real,
            Path(f"/proc/{pid}/fd/1").readlink(),
            elasticsearch_arguments(process) if "elasticsearch" in command[-1].lower() else b"",
        )

    def again(self) -> subprocess.Popen[bytes]:
        """Start it in a process group of its own; it ends with us, even if we are killed."""
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command],
                cwd=self.directory,
                env=self.environment,
                user=self.user,
                group=self.group,
                extra_groups=[],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(self.given)
        process.stdin.flush()
        return process


def elasticsearch_arguments(process: psutil.Process) -> bytes:
    """What Elasticsearch's launcher writes to its server, which reads it once.

    The launcher's class lies beside the library and is given the home and both ports. Which of the
    ports is HTTP's is found out by asking.
    """
    command = process.cmdline()
    home = next(w for w in command if w.startswith("-Des.path.home=")).partition("=")[2]
    library = Path(command[command.index("--module-path") + 1])
    listening = {
        connection.laddr.port
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    (http,) = filter(_speaks_http, listening)
    (transport,) = listening - {http}
    launcher = ["-cp", f"{library}/*:{library.parent}/launch", f"-Des.path.home={home}"]
    return subprocess.run(
        ["java", *launcher, "WriteArgs", home, str(http), str(transport)],
        check=True,
        capture_output=True,
    ).stdout


def _speaks_http(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/_cluster/health", timeout=10).status_code == 200
    return False


class RealServers:
    """The servers by name. Those that were killed run until `end`."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._started: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """It stands still within the block."""
        pid = self._pids[name]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def killed(self, name: str) -> Iterator[None]:
        """It is gone within the block, and answers again after it."""
        start = Start.of(self._pids[name])
        os.kill(self._pids[name], signal.SIGKILL)
        try:
            yield
        finally:
            process = start.again()
            self._started.append(process)
            self._pids[name] = process.pid
            asyncio.run(_until_it_answers(name, process))

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate(timeout=10)


Blow = Callable[[RealServers, str], AbstractContextManager[None]]


async def _until_it_answers(name: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not await _answers(name):
        assert process.poll() is None, f"{name} ended: {process.returncode}"
        assert time.monotonic() < deadline, f"{name} does not answer"
        await asyncio.sleep(0.2)


async def _answers(name: str) -> bool:
    url = urlsplit(os.environ[URL_OF[name]])
    with closing(socket.socket()) as probe:  # Neo4j's driver leaves one open that isn't accepted
        if probe.connect_ex((url.hostname, url.port)):
            return False
    adapter = opened(name)
    try:
        await adapter.ping()
    except StoreError:
        return False
    finally:
        await adapter.close()
    return True


def opened(name: str) -> Any:
    """This server's adapter."""
    # Their clients are extras.
    from shared.data_access.graph.bolt import BoltGraph
    from shared.data_access.search.elasticsearch import ElasticsearchSearch
    from shared.data_access.vectors.weaviate import WeaviateVectors

    adapters = {
        "neo4j": BoltGraph,
        "weaviate": WeaviateVectors,
        "elasticsearch": ElasticsearchSearch,
    }
    return adapters[name](os.environ[URL_OF[name]])
