"""A worker's place among those of its port, as its parent tells it on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WORKER: Final = "--worker"
_SOCKETS: Final = "--sockets"
_FOLDER: Final = "--folder"


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Worker `number` of as many as there are `sockets`, counted from 1.

    `sockets` are inherited file descriptors of datagram sockets: at its own place the one that it
    reads, at the others' places those that it writes to. `folder` holds the workers' metrics.
    """

    number: int
    sockets: tuple[int, ...]
    folder: Path

    @property
    def workers(self) -> int:
        return len(self.sockets)

    def share(self, places: int) -> int:
        """Of `places` that all workers have together, those of this one: one at least."""
        whole, rest = divmod(places, self.workers)
        return max(1, whole + (1 if self.number <= rest else 0))

    def arguments(self) -> tuple[str, ...]:
        sockets = ",".join(str(one) for one in self.sockets)
        return (_WORKER, str(self.number), _SOCKETS, sockets, _FOLDER, str(self.folder))


def worker_place(arguments: Sequence[str]) -> WorkerPlace | None:
    """Which worker this process is by its arguments; None if it is none."""
    names, values = tuple(arguments[::2]), tuple(arguments[1::2])
    if names != (_WORKER, _SOCKETS, _FOLDER) or len(values) != len(names):
        return None
    sockets = tuple(int(one) for one in values[1].split(",") if one.isdigit())
    if not values[0].isdigit() or not 1 <= int(values[0]) <= len(sockets):
        return None
    return WorkerPlace(int(values[0]), sockets, Path(values[2]))
