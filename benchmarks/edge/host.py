"""The machine during a run: one core for proxies, one for the load, children that end with it."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

_SPARE_FILES: Final = 512


class NotMeasured(Exception):
    """Why a part of the benchmark has no figure."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the run, and where it wrote what it had to say."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    proxy: bool

    def cpu_seconds(self) -> float:
        """Processor time of the process and its children since they started."""
        return sum(sum(one.cpu_times()[:2]) for one in self._family())

    def resident_bytes(self) -> int:
        return sum(one.memory_info().rss for one in self._family())

    def end(self) -> None:
        """SIGTERM to the whole process group, SIGKILL five seconds later."""
        for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what the leader left behind

    def _family(self) -> list[psutil.Process]:
        leader = psutil.Process(self.process.pid)
        return [leader, *leader.children(recursive=True)]


class Host:
    """Inside the block this process runs on the load's core; at its end every child is gone.

    Not `pinned`, all run on any core: what is measured has more processes than there are cores.
    """

    def __init__(self, *, pinned: bool = True) -> None:
        self._pinned = pinned
        self.folder = Path()
        self.load_core: int | None = None
        self.proxy_core: int | None = None
        self._children: list[Child] = []
        self._allowed: set[int] = set()
        self._on_sigterm: object = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="looma-gateway-"))
        self._on_sigterm = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if self._pinned and hasattr(os, "sched_setaffinity"):
            self._allowed = os.sched_getaffinity(0)
            cores = sorted(self._allowed)
            self.proxy_core, self.load_core = cores[0], cores[min(1, len(cores) - 1)]
            os.sched_setaffinity(0, {self.load_core})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in reversed(self._children):
            child.end()
        if self._allowed:
            os.sched_setaffinity(0, self._allowed)
        signal.signal(signal.SIGTERM, self._on_sigterm)  # type: ignore[arg-type]  # what signal() gave
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pinning(self) -> str:
        if self.proxy_core is None:
            return "none: this system can't pin"
        if self.proxy_core == self.load_core:
            return f"all on core {self.proxy_core}: there is no second one"
        return f"proxy on core {self.proxy_core}, upstream and load on core {self.load_core}"

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        proxy: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a process on its core; NotMeasured if there is no such program."""
        log = self.folder / f"{name}.log"
        if proxy and self.proxy_core is not None:
            os.sched_setaffinity(0, {self.proxy_core})  # a child inherits it
        try:
            with log.open("wb") as file:
                process = subprocess.Popen(
                    command, stdout=file, stderr=file, env=environment, start_new_session=True
                )
        except OSError as error:
            raise NotMeasured(f"{name} can't be started: {error}") from error
        finally:
            if self.load_core is not None:
                os.sched_setaffinity(0, {self.load_core})
        child = Child(name, process, log, proxy)
        self._children.append(child)
        return child

    def wait(self, child: Child, ready: Callable[[], bool], within: float = 20.0) -> None:
        """Until `ready()`; NotMeasured with the last words of a process that doesn't get there."""
        deadline = time.monotonic() + within
        while not ready():
            if child.process.poll() is not None or time.monotonic() > deadline:
                self.end(child)
                raise NotMeasured(f"{child.name} did not start: {_last_words(child.log)}")
            time.sleep(0.05)

    @contextlib.contextmanager
    def load_first(self) -> Iterator[bool]:
        """Inside, the load and what answers it go before all else on their core, if that may be.

        What answers is never kept waiting by the load, so that a latency is the proxy's and not
        that of a scheduler that shares one core out in slices of milliseconds.
        """
        beside = [child.process.pid for child in self._children if not child.proxy]
        with contextlib.ExitStack() as stack:
            permitted = True
            for pid, priority in (*((pid, 2) for pid in beside), (0, 1)):
                permitted = permitted and scheduled(pid, "SCHED_FIFO", priority)
                if permitted:
                    stack.callback(scheduled, pid, "SCHED_OTHER", 0)
            yield permitted

    def cpu_seconds(self) -> float:
        """Processor time of all children that run."""
        return sum(child.cpu_seconds() for child in self._children)

    def end(self, child: Child) -> None:
        child.end()
        self._children.remove(child)


class OtherLoad:
    """What is used of the machine from now on by what is no part of the run."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._began = self._now()

    def cores(self) -> tuple[float, float]:
        """Cores that other processes used, and that the hypervisor gave to other machines."""
        seconds, foreign, stolen = (
            now - began for now, began in zip(self._now(), self._began, strict=True)
        )
        return max(0.0, round(foreign / seconds, 2)), round(stolen / seconds, 2)

    def _now(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        stolen = stolen_seconds()
        unused = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
        busy = sum(times) - unused - stolen
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = time.process_time() + ended.ru_utime + ended.ru_stime + self._host.cpu_seconds()
        return time.monotonic(), busy - ours, stolen


def stolen_seconds() -> float:
    """Steal time of all cores since the machine started; 0 where no kernel tells."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def scheduled(pid: int, policy: str, priority: int) -> bool:
    """Whether the process may be, and is now, scheduled so; Linux only."""
    number = getattr(os, policy, None)
    if number is None:
        return False
    try:
        os.sched_setscheduler(pid, number, os.sched_param(priority))
    except PermissionError:
        return False
    return True


def answers(url: str) -> Callable[[], bool]:
    """Whether GET `url` is answered with 200."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return ask


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_files(wanted: int) -> int:
    """Raise the limit of open files, as far as it goes, to `wanted`; how many may then be used.

    Children inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted += _SPARE_FILES
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
            soft = wanted
        except (ValueError, OSError):  # only a privileged process may raise the hard limit
            soft = min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft - _SPARE_FILES


def rivals_folder() -> Path:
    """Where rivals are installed: LOOMA_BENCH_HOME, or a folder of this user among the temporary ones."""
    named = os.environ.get("LOOMA_BENCH_HOME")
    if named:
        return Path(named).expanduser().absolute()
    folder = Path(tempfile.gettempdir()) / f"looma-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        sys.exit(f"{folder} may be written by others. Set LOOMA_BENCH_HOME to a folder of yours.")
    return folder


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return " | ".join(lines[-3:])[-400:] or "it said nothing"
