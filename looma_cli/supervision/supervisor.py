"""Keeps a set of processes running: starts them, restarts what crashes, stops all in order."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from looma_cli import exit_codes
from looma_cli.supervision import ports
from looma_cli.supervision.child import Child, Program
from shared.errors import ConfigError, LoomaError
from shared.serving.peers import ask_ready
from shared.serving.restarts import FIRST_PAUSE_S, crashes_in_a_row, restart_pause

_SHOW_LOG_AT = 3  # crashes in a row
_POLL_S = 0.1


class Phase(Enum):
    STARTING = "starting"
    SERVING = "serving"  # told to; not yet seen ready
    READY = "ready"
    WAITING = "waiting to restart"
    STOPPED = "stopped"


@dataclass(slots=True)
class Status:
    """What is known about one program now."""

    program: Program
    url: str  # where it serves in this run
    phase: Phase = Phase.STARTING
    pid: int | None = None
    restarts: int = 0
    crashes: int = 0  # in a row
    waits_for: str = ""  # what its /ready said last
    last_words: list[str] = field(default_factory=list)


Listener = Callable[[Status, str], None]


class Supervisor:
    """Programs in stop order: the first stops first, and each group waits for the one before.

    `listener` is called in the event loop with the status that changed and a line for people
    (empty when there is nothing to say).
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Program]],
        log_dir: Path,
        *,
        patience_s: float,
        listener: Listener,
        backoff_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._groups = groups
        self._log_dir = log_dir
        self._patience_s = patience_s
        self._listener = listener
        self._backoff_s = backoff_s
        self._may_serve = asyncio.Event()
        self._failure: LoomaError | None = None
        self._children: dict[str, Child] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._sockets: dict[str, socket.socket | None] = {}  # claimed, of programs yet to start
        self._stopping = asyncio.Event()
        self._started = False
        self.statuses: Mapping[str, Status] = {
            program.name: Status(program, program.url) for group in groups for program in group
        }

    def log(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def start(self) -> None:
        """Start every program up to the point where it could serve; their ports are taken when it
        returns. ConfigError for one whose port is taken and can't be another.
        """
        for name, status in self.statuses.items():
            self._sockets[name] = _claim(status)
        for name, status in self.statuses.items():
            self._keepers[name] = asyncio.create_task(self._keep(status), name=name)

    def serve(self) -> None:
        """Let them serve: what they need is there."""
        self._may_serve.set()

    async def ready(self, timeout_s: float) -> None:
        """Wait until `/ready` of all says yes.

        Raises LoomaError, with the log's last lines, for one that keeps crashing or takes longer.
        """
        deadline = time.monotonic() + timeout_s
        while not all(status.phase is Phase.READY for status in self.statuses.values()):
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline:
                raise self._late(timeout_s)
            await asyncio.sleep(_POLL_S / 2)
        self._started = True

    async def stop(self) -> None:
        """Stop all, group by group; those of one group at once."""
        self._stopping.set()
        for sock in self._sockets.values():
            if sock is not None:
                sock.close()
        for group in self._groups:
            names = [program.name for program in group]
            await asyncio.gather(*(self._stop_one(name) for name in names))

    def kill(self) -> None:
        """Cut a stop short: whatever still runs is killed."""
        for child in self._children.values():
            child.kill()

    async def _stop_one(self, name: str) -> None:
        status = self.statuses[name]
        child = self._children.get(name)
        if child is not None:
            await child.stop(self._patience_s)
        keeper = self._keepers.get(name)
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        status.phase, status.pid = Phase.STOPPED, None
        self._listener(status, "")

    async def _keep(self, status: Status) -> None:
        """Run one program again and again until told to stop."""
        name = status.program.name
        while not self._stopping.is_set():
            status.phase = Phase.STARTING
            try:
                sock = self._sockets.pop(name, None) or _claim(status)
                with sock or nullcontext():  # closed here then: it is the child's alone
                    child = await Child.spawn(
                        status.program, self.log(name), self._patience_s, sock
                    )
            except (OSError, ConfigError) as error:
                delay = self._crashed(status, f"could not be started: {error}", [], 1, 0)
            else:
                self._children[name] = child
                status.pid = child.pid
                self._listener(status, "")
                code = await self._run(child, status)
                status.pid = None
                if self._stopping.is_set():
                    return
                ran_s = time.time() - child.started
                delay = self._crashed(status, _how(code), child.last_words(), code, ran_s)
            await asyncio.sleep(delay)
            status.restarts += 1

    async def _run(self, child: Child, status: Status) -> int:
        guide = asyncio.create_task(self._guide(child, status))
        try:
            return await child.ended()
        finally:
            guide.cancel()
            await asyncio.gather(guide, return_exceptions=True)

    async def _guide(self, child: Child, status: Status) -> None:
        """Tell a fresh child to serve as soon as it may, and notice when it is ready."""
        await self._may_serve.wait()
        child.go()
        status.phase = Phase.SERVING
        self._listener(status, "")
        async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
            while waits_for := await probe(client, status.url):
                status.waits_for = waits_for
                await asyncio.sleep(_POLL_S)
        status.phase = Phase.READY
        self._listener(status, "")

    def _crashed(
        self, status: Status, how: str, last_words: list[str], code: int, ran_s: float
    ) -> float:
        """Tell what happened; returns the seconds to wait before the next try."""
        name = status.program.name
        status.crashes = crashes_in_a_row(status.crashes, ran_s)
        status.phase, status.last_words = Phase.WAITING, last_words
        if not self._started and code == exit_codes.USAGE:
            self._failure = ConfigError(_config_line(status) or f"{name}: a setting is wrong.")
        elif not self._started and status.crashes >= _SHOW_LOG_AT:
            self._failure = LoomaError(self._explain(status, f"{name} keeps ending ({how})"))
        delay = restart_pause(status.crashes, self._backoff_s)
        line = f"{name} ended ({how}), starting it again{f' in {delay:g} s' if delay else ''}"
        if status.crashes == _SHOW_LOG_AT and self._started:
            line = self._explain(status, line)
        self._listener(status, line)
        return delay

    def _explain(self, status: Status, line: str) -> str:
        log = self.log(status.program.name)
        shown = "".join(f"\n    {words}" for words in status.last_words)
        return f"{line}. Its last words, of {log}:{shown or ' none'}"

    def _late(self, timeout_s: float) -> LoomaError:
        late = [s for s in self.statuses.values() if s.phase is not Phase.READY]
        lines = (
            f"\n  {s.program.name}: {s.waits_for or 'does not answer'} (log: {self.log(s.program.name)})"
            for s in late
        )
        return LoomaError(f"Not ready within {timeout_s:g} s:" + "".join(lines))


def _claim(status: Status) -> socket.socket | None:
    """The socket of a program's next run, on the port of the run before if that is free; None for
    a program that opens its own.
    """
    address = status.program.address
    if address is None:
        return None
    sock = ports.claim(address.with_port(urlsplit(status.url).port or address.port))
    status.url = address.with_port(sock.getsockname()[1]).url
    return sock


async def probe(client: httpx.AsyncClient, url: str) -> str:
    """Ask `/ready`: the empty string if it is, else what it waits for."""
    found = await ask_ready(client, url)
    return "" if found.ready else "; ".join(found.wrong)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"


def _config_line(status: Status) -> str:
    """The one line that a process with a wrong setting ends with."""
    prefix = f"looma {status.program.service or status.program.name}: "
    lines = [line for line in status.last_words if line.startswith(prefix)]
    return lines[-1].removeprefix(prefix) if lines else ""
