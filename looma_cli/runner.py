"""Runs the work of one command: settings, logs, loop, signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from shared.config import Config

T = TypeVar("T")


def run(work: Callable[[Config], Coroutine[Any, Any, T]]) -> T:
    """Run `work` with the settings of the environment; it ends cleanly however it is ended."""
    try:
        return asyncio.run(_run(work, settings()))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def settings() -> Config:
    """The settings, with logs set up: what goes wrong in a command is told by its last line."""
    # Imported here: it brings the tracing library, which a command without stores never uses.
    from shared.telemetry.logs import configure_logging

    config = Config.from_env()
    level = "debug" if config.log_level == "debug" else "error"
    configure_logging("cli", replace(config, log_format="console", log_level=level))
    return config


async def _run(work: Callable[[Config], Coroutine[Any, Any, T]], config: Config) -> T:
    task = asyncio.current_task()
    assert task is not None
    for number in ending_signals():
        if number != signal.SIGINT:  # which asyncio.run turns into KeyboardInterrupt
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work(config)


def ending_signals() -> list[signal.Signals]:
    """Those that ask a process to end; not SIGHUP where `nohup` has it ignored."""
    asked = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    return asked
