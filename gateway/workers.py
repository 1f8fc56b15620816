"""Several gateway processes on one port: started, watched, started again, stopped together.

The kernel spreads connections over the workers (SO_REUSEPORT). What they share is in Redis: limits,
idempotency keys, the registry. Breakers, ejections and kept answers belong to each: every worker
sees enough requests to judge for itself, and a shared state would cost a round trip per request.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

import structlog

from shared.config import Config
from shared.errors import ConfigError
from shared.process import EXIT_CONFIG

WORKER: Final = "--worker"
_FIRST_S: Final = 0.5
_LONGEST_S: Final = 30.0
_SLACK_S: Final = 5.0
log = structlog.get_logger()


class Workers:
    """`running` in the parent; each worker is `python -m gateway --worker NUMBER`."""

    name = "gateway"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stopping = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._code = 0

    async def run(self) -> int:
        """Until SIGTERM or SIGINT, or until a worker refuses its settings; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._tell, signal.SIGHUP)
        with _reserved(self._config):
            keepers = [
                asyncio.create_task(self._keep(number))
                for number in range(1, self._config.gateway_workers + 1)
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

    async def _keep(self, number: int) -> None:
        """Run worker `number`, again and again, later each time when it ends soon."""
        loop, delay = asyncio.get_running_loop(), _FIRST_S
        while not self._stopping.is_set():
            began = loop.time()
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "gateway", WORKER, str(number)),
                stdin=asyncio.subprocess.PIPE,  # its end tells a worker that the parent has gone
            )
            self._running[number] = worker
            code = await worker.wait()
            del self._running[number]
            if self._stopping.is_set():
                return
            if code == EXIT_CONFIG:
                self._code = code
                self._stopping.set()
                return
            log.error("a gateway worker ended and is started again", worker=number, code=code)
            if loop.time() - began > _LONGEST_S:
                delay = _FIRST_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, _LONGEST_S)

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._running.values():
            with suppress(ProcessLookupError):
                worker.send_signal(number)


def worker_number(arguments: list[str]) -> int | None:
    """Which worker this process is by its arguments; None if it is none."""
    if len(arguments) == 2 and arguments[0] == WORKER and arguments[1].isdigit():
        return int(arguments[1])
    return None


def stop_with_parent() -> None:
    """Let this worker end as by SIGTERM when its parent has gone, however that died."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            os.kill(os.getpid(), signal.SIGTERM)

    os.set_blocking(0, False)
    loop.add_reader(0, look)


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
