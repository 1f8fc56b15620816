"""When a core stood still: what its machine, and no program on it, makes an answer wait for.

A virtual machine's cores are lent to others for milliseconds at a time. The kernel's steal time
says how much, in hundredths of a second, but not when. So a process that goes before all others on
a core sleeps two milliseconds at a time, and prints begin and end of each sleep that was too long.

    python -m benchmarks.edge.stalls CORE
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.edge.host import Child, Host, scheduled

_SLEEP_S: Final = 0.002
_LATE_S: Final = 0.001  # waking up takes a tenth of that
_PRIORITY: Final = 3


class Stalls:
    """Those of both cores, by `time.perf_counter`."""

    def __init__(self, watchers: list[Child]) -> None:
        self._watchers = watchers

    def within(self, begin: float, end: float) -> float | None:
        """Seconds of stalls between the two, added up over the cores; None if nobody may watch."""
        if not self._watchers or any(one.process.poll() is not None for one in self._watchers):
            return None
        return sum(max(0.0, min(end, woken) - max(begin, due)) for due, woken in self._seen())

    def _seen(self) -> Iterator[tuple[float, float]]:
        for watcher in self._watchers:
            for line in watcher.log.read_text().splitlines(keepends=True):
                due, _, woken = line.partition(" ")
                if woken.endswith("\n"):  # else it is being written
                    yield float(due), float(woken)


@contextmanager
def watched(host: Host) -> Iterator[Stalls]:
    """Inside, both cores are watched, where processes may be given priority and cores."""
    command = [sys.executable, "-m", "benchmarks.edge.stalls"]
    cores = {core for core in (host.proxy_core, host.load_core) if core is not None}
    watchers = [
        # It has its place and its priority from nobody else.
        host.start(f"stalls_{core}", [*command, str(core)], proxy=True)
        for core in cores
    ]
    try:
        yield Stalls(watchers)
    finally:
        for watcher in watchers:
            host.end(watcher)


def _watch(core: int) -> None:
    os.sched_setaffinity(0, {core})
    if not scheduled(os.getpid(), "SCHED_FIFO", _PRIORITY):
        return  # what it saw would be the scheduler's doing
    while True:
        due = time.perf_counter() + _SLEEP_S
        time.sleep(_SLEEP_S)
        woken = time.perf_counter()
        if woken - due > _LATE_S:
            print(due, woken, flush=True)


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
