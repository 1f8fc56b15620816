"""A folder for the files that live as long as one process."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.file_lock import FileLock, is_held

_LOCK: Final = "lock"


@contextmanager
def run_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, taken away at the end; what killed processes left there, too.

    Two processes with the same `parent` don't disturb each other: the owner of a folder holds a
    lock that ends with it.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock.at(parent / _LOCK) as starting:
        starting.take()  # nobody clears away what isn't locked yet
        for left in parent.iterdir():
            if left.is_dir() and not is_held(left / _LOCK):
                shutil.rmtree(left, ignore_errors=True)
            elif not left.is_dir() and left.name != _LOCK:
                left.unlink(missing_ok=True)
        fresh = parent / secrets.token_hex(8)
        fresh.mkdir(mode=0o700)
        own = FileLock.at(fresh / _LOCK)
        own.take()
    with own:
        try:
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
