"""The supervisor of several gateway processes on one port: starts, restarts and stops them.

The kernel spreads connections over the workers (SO_REUSEPORT). Limits, idempotency keys and the
registry are in Redis. Circuits, ejections and health are told from worker to worker
(state_sync.py), metrics and the operators' views are put together when somebody asks (metrics.py,
own_api/admin.py).
Load limits, retry budgets and kept answers belong to each worker.

What the workers need for that is made by the parent, and outlives each of them: one pair of
datagram sockets for each, inherited by all, and a folder for their metrics. Both end with the
parent; a worker ends when its parent does.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from gateway.hangups import held, let_through
from gateway.workers.metrics import retire
from gateway.workers.worker import WorkerPlace
from shared.config import Config
from shared.errors import ConfigError
from shared.file_lock import FileLock, is_held
from shared.serving.process import EXIT_CONFIG
from shared.serving.restarts import crashes_in_a_row, restart_pause

_SLACK_S: Final = 5.0
_LOCK: Final = "lock"
log = structlog.get_logger()

Pair = tuple[socket.socket, socket.socket]


class Supervisor:
    """`run` in the parent; each worker is `python -m gateway` with its place as arguments."""

    name = "gateway"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stopping = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._spawning = asyncio.Lock()
        self._code = 0

    async def run(self) -> int:
        """Until SIGTERM or SIGINT, or until a new worker refuses its settings; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._tell, signal.SIGHUP)
        with ExitStack() as stack:
            stack.enter_context(let_through())
            stack.enter_context(_reserved(self._config))
            folder = _folder(stack, self._config)
            pairs = [_pair(stack) for _ in range(self._config.gateway_workers)]
            keepers = [
                asyncio.create_task(self._keep(number, pairs, folder))
                for number in range(1, len(pairs) + 1)
            ]
            await self._stopping.wait()
            self._tell(signal.SIGTERM)
            config = self._config
            patience = config.drain_delay_seconds + config.shutdown_seconds + _SLACK_S
            _, late = await asyncio.wait(keepers, timeout=patience)
            if late:
                self._tell(signal.SIGKILL)
                await asyncio.wait(late)
        return self._code

    async def _keep(self, number: int, pairs: list[Pair], folder: Path) -> None:
        """Run worker `number`, again and again: at once, later each time when it ends soon."""
        loop, crashes, restarted = asyncio.get_running_loop(), 0, False
        inbox = pairs[number - 1][0]
        sockets = tuple(
            (pair[0] if place == number else pair[1]).fileno()
            for place, pair in enumerate(pairs, start=1)
        )
        place = WorkerPlace(number, sockets, folder)
        while not self._stopping.is_set():
            began = loop.time()
            _drain(inbox)
            worker = await self._begin(number, place)
            code = await worker.wait()
            del self._running[number]
            retire(folder, number)
            if self._stopping.is_set():
                return
            # A worker started again may find a route table that the others refused when they were
            # told to reload: they keep theirs and go on, and it comes back once the file is right.
            if code == EXIT_CONFIG and not restarted:
                self._code = code
                self._stopping.set()
                return
            restarted = True
            crashes = crashes_in_a_row(crashes, loop.time() - began)
            pause = restart_pause(crashes)
            log.error(
                "a gateway worker ended and is started again", worker=number, code=code, in_s=pause
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _begin(self, number: int, place: WorkerPlace) -> asyncio.subprocess.Process:
        # Held over its birth, a SIGHUP meets a worker that can take it; one at a time, as the mask
        # of signals is the process's.
        async with self._spawning:
            with held():
                worker = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "gateway", *place.arguments()),
                    stdin=asyncio.subprocess.PIPE,  # its end tells that the parent has gone
                    pass_fds=place.sockets,
                )
                self._running[number] = worker
        return worker

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._running.values():
            with suppress(ProcessLookupError):
                worker.send_signal(number)


def _folder(stack: ExitStack, config: Config) -> Path:
    parent = config.home / "run" / f"gateway-{config.gateway_port}"
    try:
        return stack.enter_context(run_folder(parent))
    except OSError as error:
        raise ConfigError(
            f"LOOMA_HOME: can't keep the workers' metrics in {parent}: {error.strerror}. "
            "Point LOOMA_HOME at a directory that this user may write."
        ) from error


@contextmanager
def run_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, taken away at the end; what killed processes left there, too.

    Two processes with the same `parent` don't disturb each other: the owner of a folder holds a
    lock that ends with it.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock.at(parent / _LOCK) as starting:
        starting.take()  # nobody clears away what isn't locked yet
        for left in parent.iterdir():
            if left.is_dir() and not is_held(left / _LOCK):
                shutil.rmtree(left, ignore_errors=True)
            elif not left.is_dir() and left.name != _LOCK:
                left.unlink(missing_ok=True)
        fresh = parent / secrets.token_hex(8)
        fresh.mkdir(mode=0o700)
        own = FileLock.at(fresh / _LOCK)
        own.take()
    with own:
        try:
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _pair(stack: ExitStack) -> Pair:
    """What a worker reads, and what the others write to it."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for one in pair:
        stack.callback(one.close)
        one.setblocking(False)
    return pair


def _drain(inbox: socket.socket) -> None:
    """What was meant for a worker that ended is not its successor's."""
    with suppress(BlockingIOError):
        while True:
            inbox.recv(1)


def stop_with_parent() -> None:
    """Let this worker end as by SIGTERM when its parent has gone, however that died."""
    loop = asyncio.get_running_loop()

    def read_end() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            os.kill(os.getpid(), signal.SIGTERM)

    os.set_blocking(0, False)
    loop.add_reader(0, read_end)


def _reserved(config: Config) -> socket.socket:
    """The port, bound but not listening: it stays ours while workers come and go."""
    host = config.bind_host
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, config.gateway_port))
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"GATEWAY_PORT: can't listen on {host}:{config.gateway_port}: {error.strerror}. "
            "Stop what listens there, or set GATEWAY_PORT to a free port."
        ) from error
    return sock
