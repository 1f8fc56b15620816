"""`looma up --detach`: the supervisor in a process of its own that outlives the command."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from looma_cli.supervision.child import tail
from looma_cli.supervision.platform import Platform, programs
from looma_cli.supervision.run_state import RunFiles, RunState
from looma_cli.terminal.console import say
from looma_cli.up.progress import StartView
from looma_cli.up.replicas import written
from looma_cli.up.start import (
    READY_WITHIN_S,
    FillDemo,
    Opened,
    open_for_cli,
    serve,
    welcome,
    with_demo,
)
from shared.config import Config, process_environment
from shared.errors import LoomaError

_STORES_WITHIN_S = 180.0
_POLL_S = 0.1


async def start_detached(
    config: Config, demo: FillDemo | None, replicas: Mapping[str, int]
) -> None:
    """Start it, wait until all is ready, show what `looma up` shows, and return."""
    config = with_demo(config, demo)
    files = RunFiles(config.home)
    with files.held() as lock:
        programs(config, {}, replicas)  # a taken port is told now, rather than in a log
        began = time.monotonic()
        log = config.home / "logs" / "looma.log"
        log.parent.mkdir(mode=0o700, exist_ok=True)
        offset = log.stat().st_size if log.exists() else 0
        process = _spawn(config, log, lock, replicas)
    with StartView() as view:
        state = await _ready(process, files, view, log, offset)
    async with open_for_cli(config) as opened:
        await welcome(config, demo, opened, state.gateway_url, time.monotonic() - began)
    say("It runs in the background. Stop it with: looma down")


async def serve_detached(config: Config, replicas: Mapping[str, int], lock: int | None) -> None:
    """The process that stays. It greets nobody: the first password waits for the command."""

    async def on_ready(_up: Platform, _opened: Opened) -> None:
        _say_when("All is ready.")

    with StartView(_say_when) as view:
        await serve(config, view, on_ready, replicas, lock)


def _say_when(line: str) -> None:
    """As a line of the log that this process writes, which `looma logs` puts among the others'."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    say(f"{now}Z [info     ] {line}")


def _spawn(
    config: Config, log: Path, lock: int, replicas: Mapping[str, int]
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "looma_cli.main", "serve", "--lock", str(lock)]
    if replicas:
        command += ["--replicas", written(replicas)]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    settings = {"LOOMA_HOME": str(config.home), "ORGANISATION": config.organisation}
    try:
        return subprocess.Popen(  # noqa: S603 - all words are ours
            command,
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=process_environment(**settings),
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


async def _ready(
    process: subprocess.Popen[bytes], files: RunFiles, view: StartView, log: Path, offset: int
) -> RunState:
    """The state once all is ready; LoomaError with the log's words if it ends before."""
    deadline = time.monotonic() + _STORES_WITHIN_S + READY_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        state = files.read()
        if state is not None and state.pid == process.pid:
            for running in state.processes:
                view.step(running.name, running.phase)
            if state.ready:
                return state
        await asyncio.sleep(_POLL_S)
    process.terminate()
    words = "\n".join(tail(log, 12, offset))
    raise LoomaError(f"It did not get ready. The last words of {log}:\n{words}")
