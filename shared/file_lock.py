"""A lock on a file that the kernel frees when its holder ends, whatever way that is.

It is flock(2): kept by the open file, so that a child which inherits the descriptor holds it too,
and two files opened by one process exclude each other. POSIX record locks, which `fasteners` and
others take, do neither.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class FileLock:
    """A lock file that is open, and not locked until `take`, `try_take` or `share` says so."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def at(cls, path: Path) -> Self:
        """Of a file that is made if it isn't there, for its owner only; OSError if that can't be."""
        return cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def take(self) -> None:
        """Hold it alone; waits while others hold it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def try_take(self) -> bool:
        """Hold it alone if nobody else does; False, and then not even shared any more, if not."""
        return self._tried(fcntl.LOCK_EX)

    def share(self) -> None:
        """Hold it together with others who share it; waits while someone holds it alone."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def try_share(self) -> bool:
        """Share it if nobody holds it alone; whether that is so."""
        return self._tried(fcntl.LOCK_SH)

    def close(self) -> None:
        """Let go of it, unless a child has inherited it."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tried(self, how: int) -> bool:
        try:
            fcntl.flock(self.descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_held(path: Path) -> bool:
    """Whether someone holds the lock file alone. It is shared for an instant to find that out."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    with FileLock(descriptor) as lock:
        return not lock.try_share()
