"""A real `looma up` in a home of its own."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from tests.looma_cli.looma import Looma


def belongs_to(process: psutil.Process, home: Path) -> bool:
    try:
        words = [*process.cmdline(), process.cwd(), process.environ().get("LOOMA_HOME", "")]
    except psutil.Error:
        return False
    return any(str(home) in word for word in words)


class Platform(Looma):
    """`looma` over a home with nothing but itself."""

    def __init__(self, home: Path, cwd: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        super().__init__(home, cwd, GATEWAY_PORT=str(self.port), SHUTDOWN_SECONDS="5")
        self.url = f"http://127.0.0.1:{self.port}"
        self.out = cwd / "up.out"
        self.err = cwd / "up.err"
        self.supervisor: subprocess.Popen[bytes] | None = None

    def up(self, *args: str) -> float:
        """Start in the foreground; the seconds until it was ready and had said so."""
        began = time.monotonic()
        self.begin(*args)
        self.await_up()
        return time.monotonic() - began

    def begin(self, *args: str) -> None:
        """Start in the foreground, without waiting."""
        command = [*self.command, "up", *args]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.supervisor = subprocess.Popen(
                command, env=self.env, cwd=self.cwd, stdout=out, stderr=err
            )

    def await_up(self) -> None:
        assert until(self._is_up, 120), self.err.read_text()

    def _is_up(self) -> bool:
        assert self.supervisor is not None
        assert self.supervisor.poll() is None, self.err.read_text()
        return "Ctrl-C stops it" in self.err.read_text()

    def interrupt(self) -> int:
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGINT)
        return self.supervisor.wait(60)

    def left_over(self) -> list[psutil.Process]:
        own = psutil.Process()
        return [p for p in psutil.process_iter() if p != own and belongs_to(p, self.home)]

    def client(self, token: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
