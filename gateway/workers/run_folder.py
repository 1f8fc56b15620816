"""A folder for the files that live as long as one process."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LOCK: Final = "lock"


@contextmanager
def run_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, taken away at the end; what killed processes left there, too.

    Two processes with the same `parent` don't disturb each other: the owner of a folder holds a
    lock that ends with it.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    starting = _opened(parent / _LOCK)
    try:
        fcntl.flock(starting, fcntl.LOCK_EX)  # nobody clears away what isn't locked yet
        for left in parent.iterdir():
            if left.is_dir() and not _is_held(left / _LOCK):
                shutil.rmtree(left, ignore_errors=True)
            elif not left.is_dir() and left.name != _LOCK:
                left.unlink(missing_ok=True)
        fresh = parent / secrets.token_hex(8)
        fresh.mkdir(mode=0o700)
        held = _opened(fresh / _LOCK)
        fcntl.flock(held, fcntl.LOCK_EX)
    finally:
        os.close(starting)
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        os.close(held)


def _opened(lock: Path) -> int:
    return os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_WRONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
