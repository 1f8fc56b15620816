"""What runs on a home: one lock that the supervisor holds, and a file in which it says what it runs.

The lock decides, the file informs: the kernel frees the lock whatever way the supervisor ends. In
the lock stands who took it, as a file of an earlier supervisor may still be there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from shared.errors import ConfigError, Conflict
from shared.file_lock import FileLock, is_held
from shared.serving.supervised import home_of

# The creation time of a process is known to a clock tick, what we noted to a second or so.
_SAME_CREATION_S = 5.0
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Running:
    """One supervised process as the supervisor last saw it."""

    name: str
    url: str
    pid: int | None
    phase: str
    restarts: int


@dataclass(frozen=True, slots=True)
class RunState:
    """A supervisor and its processes; `ready` once all have been ready."""

    pid: int
    started: float  # seconds since the epoch
    gateway_url: str
    ready: bool
    processes: tuple[Running, ...]


class AlreadyUp(Conflict):
    """Another supervisor holds the home."""


class RunFiles:
    """The lock and the state file under `<home>/run`."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "run"
        self._lock = self._folder / "supervisor.lock"
        self._state = self._folder / "supervisor.json"

    @contextmanager
    def held(self, given: int | None = None) -> Iterator[int]:
        """Be the one supervisor of this home; AlreadyUp if there is one.

        Yields the lock's descriptor: a child that inherits it can be `given` it, and holds the
        home without a moment in which nobody does.
        """
        self.prepare()
        with self._opened(given) as lock:
            if not _taken(lock):
                raise AlreadyUp(self._already_up(lock.descriptor))
            os.ftruncate(lock.descriptor, 0)
            os.pwrite(lock.descriptor, str(os.getpid()).encode(), 0)
            yield lock.descriptor
            state = self.read()
            if state is not None and state.pid == os.getpid():
                self._state.unlink(missing_ok=True)

    def _opened(self, given: int | None) -> FileLock:
        if given is not None:
            with suppress(OSError):
                if os.path.samestat(os.fstat(given), self._lock.stat()):
                    os.set_inheritable(given, False)
                    return FileLock(given)
        return FileLock.at(self._lock)

    def prepare(self) -> None:
        """Make the folder, open to its owner only; ConfigError if that can't be."""
        try:
            self._folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            FileLock.at(self._lock).close()
        except OSError as error:
            raise ConfigError(
                f"LOOMA_HOME: {self._folder} can't be used: {error.strerror}. "
                "Point LOOMA_HOME at a directory that this user may write."
            ) from error

    def is_held(self) -> bool:
        """Whether a supervisor runs."""
        return is_held(self._lock)

    def write(self, state: RunState) -> None:
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(state), indent=1))
        fresh.replace(self._state)

    def read(self) -> RunState | None:
        """The last state written, also of a supervisor that was killed; None if there is none."""
        try:
            document: dict[str, Any] = json.loads(self._state.read_bytes())
            processes = tuple(Running(**entry) for entry in document.pop("processes"))
            return RunState(**document, processes=processes)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _already_up(self, descriptor: int) -> str:
        written = os.pread(descriptor, 20, 0)
        state, home = self.read(), self._folder.parent
        if state is not None and (not written.isdigit() or state.pid == int(written)):
            where = f"{state.gateway_url} (process {state.pid})"
            return f"Looma AI is already up on {home}: {where}. Stop it with: looma down"
        who = f" (process {int(written)})" if written.isdigit() else ""
        return f"Another `looma up`{who} is starting on {home}. Wait for it: looma status"


def _taken(lock: FileLock) -> bool:
    """Take the lock; whoever only looks whether it is held holds it for an instant, too."""
    for _ in range(_TRIES):
        if lock.try_take():
            return True
        time.sleep(0.02)
    return False


def living(state: RunState) -> list[psutil.Process]:
    """The processes of `state` that still exist; a pid that another program got since is not one."""
    found = []
    for pid in (state.pid, *(process.pid for process in state.processes)):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            mine = process.create_time() >= state.started - _SAME_CREATION_S
            ours = pid == state.pid or home_of(process.cmdline()) is not None
            if pid is not None and mine and ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_until_free(files: RunFiles, seconds: float) -> bool:
    """Whether the supervisor let go of the home within `seconds`."""
    deadline = time.monotonic() + seconds
    while files.is_held():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
