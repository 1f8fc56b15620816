"""A real `looma up` in a home of its own, for the benchmarks of the whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import httpx
import psutil

_READY_S: Final = 180.0


class Platform:
    """`up` and `down` as often as wanted; the home keeps its data."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        # As users have it: with compiled sources kept, which a shell may have switched off.
        mine = {name: value for name, value in os.environ.items() if name != _NO_BYTECODE}
        self.env = {**mine, "LOOMA_HOME": str(home), "GATEWAY_PORT": str(port)}
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def looma(self, *args: str) -> str:
        command = [sys.executable, "-m", "looma_cli.main", *args]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"looma {' '.join(args)}: {done.stderr}")
        return done.stdout.strip()

    def up(self, *args: str) -> float:
        """Start it; the seconds until it was ready."""
        started = time.perf_counter()
        command = [sys.executable, "-m", "looma_cli.main", "up", *args]
        self.process = subprocess.Popen(
            command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while time.perf_counter() - started < _READY_S:
            try:
                if httpx.get(f"{self.url}/ready", timeout=2).status_code == 200:
                    return time.perf_counter() - started
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the platform was not ready within {_READY_S:g} s")

    def down(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None

    def memory(self) -> tuple[float, float]:
        """(sum of RSS, sum of PSS) in MiB over every process that belongs to this home."""
        home = str(self.home)
        rss = pss = 0
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get("LOOMA_HOME") != home
                    and not any(home in argument for argument in process.cmdline())
                    and not _descends(process, home)
                ):
                    continue
                info = process.memory_full_info()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            rss, pss = rss + info.rss, pss + info.pss
        return rss / 2**20, pss / 2**20


_NO_BYTECODE: Final = "PYTHONDONTWRITEBYTECODE"


def _descends(process: psutil.Process, home: str) -> bool:
    return any(home in argument for parent in process.parents() for argument in parent.cmdline())
