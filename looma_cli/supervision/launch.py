"""The first code of a supervised process: `python -P -m looma_cli.supervision.launch MARK LOG MODULE PATIENCE`.

MARK is for others, who see it in the list of processes (shared/serving/supervised.py). It imports MODULE's code, waits for the word to go, and then runs it as `python -m MODULE` would.
The word comes over standard input, which stays open as long as the supervisor lives: when it
ends, however that came about, this process stops too, within PATIENCE seconds. So nothing is left
running after a `kill -9`, on any system. The log, to which standard output and error go, is changed for a fresh
one when it has grown; by swapping descriptors, so no line is lost.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

GO = b"go\n"
_LOOK_S = 5.0
_LOG_BYTES = 10 * 1024 * 1024
_LOGS_KEPT = 3


def main(log: Path, module: str, patience_s: float) -> None:
    # Two processes that start at once compile the same files; what stays is the same.
    importlib.import_module(f"{module}.__main__")
    del sys.modules[f"{module}.__main__"]
    if os.read(0, len(GO)) != GO:
        return
    threading.Thread(
        target=watch_supervisor, args=(patience_s,), name="supervisor", daemon=True
    ).start()
    threading.Thread(target=watch_log, args=(log,), name="log", daemon=True).start()
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def watch_supervisor(patience_s: float) -> None:
    """Once standard input ends, stop this process and all that it started."""
    while os.read(0, 64):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(patience_s)
    os.killpg(0, signal.SIGKILL)


def watch_log(log: Path) -> None:
    while True:
        rotate(log)
        time.sleep(_LOOK_S)


def rotate(log: Path, limit: int = _LOG_BYTES, keep: int = _LOGS_KEPT) -> None:
    """Send standard output and error to a fresh file if they have written `limit` bytes."""
    if os.fstat(2).st_size < limit:
        return
    names = [log, *(log.with_name(f"{log.name}.{number}") for number in range(1, keep + 1))]
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        if newer.exists():
            newer.replace(older)
    fresh = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fresh, 1)
    os.dup2(fresh, 2)
    os.close(fresh)


if __name__ == "__main__":
    main(Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
