"""A server of a home, and how any of them is brought up, found again and stopped."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.layout import Layout, is_free
from shared.embedded.log import failure, log_size, rotate
from shared.embedded.process import (
    Launch,
    ProcessId,
    command_line,
    is_alive,
    listening_ports,
    running_in,
    spawn,
    stop,
)
from shared.embedded.state import ServerRecord

# Signals to send in turn, each with the seconds that the server gets to end.
Stopping = tuple[tuple[signal.Signals, float], ...]
Progress = Callable[[str], None]

_POLL_S = 0.05
_PROBE_S = 10.0
_START_S = 120.0  # without any answer
_RECOVER_S = 3600.0  # while it answers that it is busy: replaying its log after a crash
_ADOPT_S = 30.0  # a server found running may be slow: the machine is loaded or just woke up
_TELL_AFTER_S = 1.0
_ATTEMPTS = 3

_Result = TypeVar("_Result")


class Answer(Enum):
    """What a server says to us."""

    READY = "ready"
    BUSY = "busy"  # alive, not yet serving
    SILENT = "silent"  # no connection
    REFUSED = "refused"  # serves, but not with our password
    DISPLACED = "displaced"  # another program has its port


_FINAL = (Answer.READY, Answer.REFUSED, Answer.DISPLACED)


class Server(Protocol):
    """One kind of server in one home. Methods that are not `async` may block."""

    @property
    def name(self) -> str: ...
    @property
    def program(self) -> str:
        """Its name in the process table."""
        ...

    @property
    def directory(self) -> Path:
        """Its working directory, by which it is recognised."""
        ...

    @property
    def layout(self) -> Layout: ...
    @property
    def stopping(self) -> Stopping: ...
    def choose_ports(self, previous: tuple[int, ...], /) -> tuple[int, ...]:
        """Free loopback ports to listen on: the previous ones as far as they are free."""
        ...

    def ports_of(self, command: Sequence[str], /) -> tuple[int, ...]:
        """The ports that a running server was started with, from its command line."""
        ...

    def prepare(self) -> None:
        """Make it startable: directories, first data, leftovers of a crash. It does not run."""
        ...

    def launch(self, ports: tuple[int, ...], /) -> Launch: ...
    async def probe(self, ports: tuple[int, ...], /) -> Answer: ...
    def url(self, ports: tuple[int, ...], /) -> str: ...
    def address(self, ports: tuple[int, ...], /) -> str: ...


@dataclass(frozen=True, slots=True)
class Failed:
    """A start that did not work, and whether the cause was a port that another program took."""

    reason: str
    port_taken: bool = False


async def bring_up(server: Server, record: ServerRecord, tell: Progress) -> ServerRecord:
    """Return the record of a server that answers: the one that runs, or a fresh one.

    The caller holds the lock of the home.
    """
    adopted = await _adopt(server, record, tell)
    if adopted is not None:
        return adopted
    tell("preparing")
    await finish(asyncio.to_thread(server.prepare))
    return await _start(server, record.ports, tell)


def locate(server: Server, record: ServerRecord) -> list[ProcessId]:
    """The living processes of this server: the recorded one, or those found by directory."""
    if record.process is not None and is_alive(record.process):
        return [record.process]
    return running_in(server.directory, server.program)


async def _adopt(server: Server, record: ServerRecord, tell: Progress) -> ServerRecord | None:
    """Reuse the one server that runs; end any that is deaf, refuses us or is one too many."""
    found = await asyncio.to_thread(locate, server, record)
    if len(found) == 1:
        process = found[0]
        ports = server.ports_of(await asyncio.to_thread(command_line, process))
        if await _wait(server, process, ports, _ADOPT_S, tell) is Answer.READY:
            tell("found running")
            return ServerRecord(process, ports, wanted=True)
    for process in found:
        tell("stopping one that does not answer")
        await end(server, process)
    return None


async def _start(server: Server, previous: tuple[int, ...], tell: Progress) -> ServerRecord:
    failed = Failed("")
    for _ in range(_ATTEMPTS):
        ports = server.choose_ports(previous)
        tell("starting")
        began = time.monotonic()
        outcome = await _try_start(server, ports, tell)
        if isinstance(outcome, ProcessId):
            tell(f"ready after {time.monotonic() - began:.1f} s")
            return ServerRecord(outcome, ports, wanted=True)
        failed = outcome
        if not failed.port_taken:
            break
    log = server.layout.log(server.name)
    raise EmbeddedStoreError(f"{server.name} did not start: {failed.reason} (log: {log})")


async def _try_start(server: Server, ports: tuple[int, ...], tell: Progress) -> ProcessId | Failed:
    log = server.layout.log(server.name)
    await asyncio.to_thread(rotate, log)
    offset = log_size(log)
    process = await finish(asyncio.to_thread(spawn, server.launch(ports)))
    answer = await _wait(server, process, ports, _START_S, tell)
    if answer is Answer.READY:
        return process
    died = not is_alive(process)
    await end(server, process)
    if answer is Answer.REFUSED:
        return Failed("it does not accept the password of this home: see the secrets folder")
    reason = failure(log, offset, None if died else _START_S)
    return Failed(reason, port_taken=answer is Answer.DISPLACED)


async def _wait(
    server: Server, process: ProcessId, ports: tuple[int, ...], patience_s: float, tell: Progress
) -> Answer:
    """Ask until the server is ready or refuses us, has died or has used up its patience."""
    began = time.monotonic()
    told = False
    while True:
        answer = await _ask(server, process, ports)
        if answer in _FINAL:
            return answer
        waited = time.monotonic() - began
        if answer is Answer.BUSY and not told and waited > _TELL_AFTER_S:
            told = True
            tell("recovering")
        limit = _RECOVER_S if answer is Answer.BUSY else patience_s
        if waited > limit or not is_alive(process):
            return answer
        await asyncio.sleep(min(_POLL_S + waited / 50, 0.5))


async def _ask(server: Server, process: ProcessId, ports: tuple[int, ...]) -> Answer:
    # Our password must not go to a stranger who listens where the server should.
    if ports and (trouble := await asyncio.to_thread(_trouble_with_ports, process, ports)):
        return trouble
    try:
        async with asyncio.timeout(_PROBE_S):
            return await server.probe(ports)
    except TimeoutError:
        return Answer.SILENT


def _trouble_with_ports(process: ProcessId, ports: tuple[int, ...]) -> Answer | None:
    taken = {port for port in ports if not is_free(port)}
    own = listening_ports(process)  # asked second: what it opens in between counts as its own
    if not taken <= own:
        return Answer.DISPLACED
    return None if own >= set(ports) else Answer.SILENT


async def end(server: Server, process: ProcessId) -> None:
    """Stop a server cleanly, then by force."""
    if not await finish(asyncio.to_thread(stop, process, server.stopping)):
        raise EmbeddedStoreError(
            f"{server.name} (process {process.pid}) does not end: "
            f"look at it with `ps -fp {process.pid}`; it may wait for a disk that does not answer"
        )


async def answers(
    server: Server, process: ProcessId, ports: tuple[int, ...], timeout_s: float
) -> bool:
    """Whether the server serves us, asked once."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(server, process, ports) is Answer.READY
    except TimeoutError:
        return False


async def finish(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await work in a thread to its end, even if we are cancelled meanwhile.

    The thread would go on anyway, and the lock must not be free while it does.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
