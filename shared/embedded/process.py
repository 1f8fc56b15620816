"""A server process: started detached, recognised again, measured and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from shared.embedded.account import Account
from shared.embedded.errors import EmbeddedStoreError

# A pid that comes back within this time for another program is not seen in practice; clocks that
# are stepped a little (the creation time is boot time plus ticks) are.
_SAME_CREATION_S = 2.0
_POLL_S = 0.02
# Starts "$@" in the background with its output on the log (descriptor 2) and prints its pid, so
# that the server is nobody's child: it outlives us and init reaps it.
_DETACH = 'exec "$@" >&2 & echo $!'


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A pid together with its creation time (seconds since the epoch), which no other reuses."""

    pid: int
    created: float


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started: the command, its working directory, its log and its user."""

    command: Sequence[str]
    directory: Path
    log: Path
    account: Account | None = None
    environment: Mapping[str, str] | None = None


def spawn(launch: Launch) -> ProcessId:
    """Start a server in a session of its own, its output appended to the log."""
    environment = child_environment(launch.directory) | dict(launch.environment or {})
    try:
        with open(launch.log, "ab", opener=_private) as log:
            done = subprocess.run(  # noqa: S603 - the command is ours, no shell sees its arguments
                ["/bin/sh", "-c", _DETACH, "sh", *launch.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=launch.directory,
                env=environment,
                start_new_session=True,
                umask=0o077,
                check=True,
                user=launch.account.uid if launch.account else None,
                group=launch.account.gid if launch.account else None,
                extra_groups=[] if launch.account else None,
            )
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedStoreError(
            f"could not run {launch.command[0]} in {launch.directory}: {error}"
        ) from error
    pid = int(done.stdout)
    # A process that died at once is recorded with a time that matches nothing.
    return identify(pid) or ProcessId(pid, 0.0)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def child_environment(directory: Path) -> dict[str, str]:
    """The whole environment of a server: nothing of ours leaks into it."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(directory)}


def identify(pid: int) -> ProcessId | None:
    """The identity of a living process, None if there is none (a zombie is dead)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessId(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(process: ProcessId | None) -> bool:
    if process is None:
        return False
    found = identify(process.pid)
    return found is not None and abs(found.created - process.created) < _SAME_CREATION_S


def running_in(directory: Path, program: str) -> list[ProcessId]:
    """Living processes of `program` that work in `directory`, without their own children.

    The working directory of another user's process may be hidden from us; its command line,
    which names the directory, is not.
    """
    found: dict[int, tuple[int, float]] = {}
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != program:
            continue
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and _works_in(process, str(directory)):
                found[process.pid] = (process.ppid(), process.create_time())
    return [
        ProcessId(pid, created) for pid, (parent, created) in found.items() if parent not in found
    ]


def _works_in(process: psutil.Process, directory: str) -> bool:
    with suppress(psutil.AccessDenied):
        if process.cwd() == directory:
            return True
    with suppress(psutil.AccessDenied):
        return directory in process.cmdline()
    return False


def command_line(process: ProcessId) -> list[str]:
    """What a process was started with; empty if it is gone."""
    try:
        return psutil.Process(process.pid).cmdline()
    except psutil.NoSuchProcess:
        return []


def listening_ports(process: ProcessId) -> set[int]:
    """The TCP ports that a process of ours listens on."""
    try:
        connections = psutil.Process(process.pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return set()
    return {
        connection.laddr.port
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }


def stop(process: ProcessId, signals: Iterable[tuple[signal.Signals, float]]) -> bool:
    """Send each signal and wait its seconds until the process is gone; True if it is."""
    for number, patience_s in signals:
        if not is_alive(process):
            return True
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
        if _gone_within(process, patience_s):
            return True
    return not is_alive(process)


def _gone_within(process: ProcessId, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def resident_bytes(process: ProcessId) -> int:
    """Memory of a process and its children in bytes, pages that they share counted once."""
    private = shared = 0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for member in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                memory = member.memory_info()
                common = getattr(memory, "shared", 0)  # Linux only; elsewhere all is private
                private += memory.rss - common
                shared = max(shared, common)
    return private + shared
