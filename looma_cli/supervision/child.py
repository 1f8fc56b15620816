"""One supervised process: started, told to serve, stopped; its log on disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from looma_cli.supervision import launch
from looma_cli.supervision.ports import Address
from shared.config import process_environment
from shared.serving.supervised import mark

_TAIL_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: a module with `__main__`, the settings of its own and where it will serve.

    `address` is where the supervisor opens its socket; None for a process that opens its own.
    `service` is whose replica it is, and what it calls itself, where that is not its `name`.
    """

    name: str
    module: str
    url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    address: Address | None = None
    service: str = ""


class Child:
    """One run of a program, in a session of its own so that a Ctrl-C reaches the supervisor only."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, log_offset: int) -> None:
        self._process = process
        self._log = log
        self._log_offset = log_offset
        self.started = time.time()

    @classmethod
    async def spawn(
        cls, program: Program, log: Path, patience_s: float, sock: socket.socket | None = None
    ) -> Child:
        """Start it up to the point where only the word to go is missing.

        `patience_s` is how long it may take to stop by itself should the supervisor die. `sock` is
        the listening socket that it gets. `log` lies in the `logs` of the home.
        """
        settings = dict(program.settings)
        given: tuple[int, ...] = ()
        if sock is not None:
            given = (sock.fileno(),)
            settings["LISTEN_FD"] = str(sock.fileno())
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            offset = os.fstat(descriptor).st_size
            process = await asyncio.create_subprocess_exec(
                # -P: a folder named `shared` where the user stands must not be taken for ours.
                *(sys.executable, "-P", "-m", launch.__name__),
                *(mark(log.parent.parent), str(log), program.module, str(patience_s)),
                stdin=asyncio.subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                env=process_environment(**settings),
                pass_fds=given,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        return cls(process, log, offset)

    @property
    def pid(self) -> int:
        return self._process.pid

    def go(self) -> None:
        """Let it serve. Its standard input stays open: when it ends, the child stops."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it has died: `ended` tells
            self._process.stdin.write(launch.GO)

    async def ended(self) -> int:
        """Wait for its end; what it leaves behind is killed. Returns the exit code."""
        code = await self._process.wait()
        self._kill_group()
        return code

    async def stop(self, patience_s: float) -> None:
        """SIGTERM, and SIGKILL for what has not ended after `patience_s` seconds."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience_s)
        self._kill_group()
        await self._process.wait()

    def kill(self) -> None:
        self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self, lines: int = 12) -> list[str]:
        """The last lines that this run wrote to its log."""
        return tail(self._log, lines, self._log_offset)


def tail(log: Path, lines: int, offset: int = 0) -> list[str]:
    """The last lines of a file, those before `offset` left out (unless it has shrunk since)."""
    if not log.exists():
        return []
    size = log.stat().st_size
    with log.open("rb") as file:
        file.seek(max(offset if offset <= size else 0, size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-lines:]
