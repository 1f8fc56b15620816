"""`looma up --detach`: the supervisor in a process of its own that outlives the command."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from looma_cli.supervision.child import tail
from looma_cli.supervision.platform import Platform, programs
from looma_cli.supervision.run_state import RunFiles, RunState
from looma_cli.terminal.console import say
from looma_cli.up.progress import StartView
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


async def start_detached(config: Config, demo: FillDemo | None) -> None:
    """Start it, wait until all is ready, show what `looma up` shows, and return."""
    config = with_demo(config, demo)
    files = RunFiles(config.home)
    with files.held() as lock:
        programs(config, {})  # a taken port is told now, rather than in a log
        began = time.monotonic()
        log = config.home / "logs" / "looma.log"
        log.parent.mkdir(mode=0o700, exist_ok=True)
        offset = log.stat().st_size if log.exists() else 0
        process = _spawn(config, log, lock)
    with StartView() as view:
        state = await _ready(process, files, view, log, offset)
    async with open_for_cli(config) as opened:
        await welcome(config, demo, opened, state.gateway_url, time.monotonic() - began)
    say("It runs in the background. Stop it with: looma down")


async def serve_detached(config: Config, lock: int | None) -> None:
    """The process that stays. It greets nobody: the first password waits for the command."""

    async def on_ready(_up: Platform, _opened: Opened) -> None:
        say("All is ready.")

    with StartView() as view:
        await serve(config, view, on_ready, lock)


def _spawn(config: Config, log: Path, lock: int) -> subprocess.Popen[bytes]:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    settings = {"LOOMA_HOME": str(config.home), "ORGANISATION": config.organisation}
    try:
        return subprocess.Popen(  # noqa: S603 - all words are ours
            [sys.executable, "-P", "-m", "looma_cli.main", "serve", "--lock", str(lock)],
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
