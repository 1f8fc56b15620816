"""The logs of a home's processes as one: merged by time, then followed."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from looma_cli.logs.files import LogFile, logs_of
from looma_cli.logs.query import Query
from looma_cli.logs.record import Record, Records
from shared.errors import ConfigError, LoomaError

_LOOK_S: Final = 0.25
_AT_ONCE: Final = 10_000  # lines of one process that are sorted among the others'


class Logs:
    """The logs in `folder`, of `services` if they are named: NAME stands for its replicas, too."""

    def __init__(self, folder: Path, services: Sequence[str], wanted: Query) -> None:
        """ConfigError for a name that has no log; LoomaError if there are none at all."""
        self._folder = folder
        self._services = services
        self._wanted = wanted
        self._since = 0.0 if wanted.since is None else wanted.since.timestamp()
        self._open: dict[str, tuple[LogFile, Records]] = {}
        self._check()

    def __iter__(self) -> Iterator[Record]:
        """What is there and wanted, oldest first. Takes the memory of a line of each process."""
        self._find()
        streams = [records.of(log.read(unfinished=True)) for log, records in self._open.values()]
        merged = heapq.merge(*streams, key=lambda record: record.at)
        return filter(self._wanted.wants, merged)

    def follow(self, last: int | None) -> Iterator[Record]:
        """The same (the `last` ones), and then for ever what is added, also by new processes."""
        self._find()
        streams = [records.of(log.read()) for log, records in self._open.values()]
        merged = heapq.merge(*streams, key=lambda record: record.at)
        yield from newest(filter(self._wanted.wants, merged), last)
        while True:
            self._find()
            added = [
                record
                for log, records in self._open.values()
                for record in records.of(islice(log.read(), _AT_ONCE))
                if self._wanted.wants(record)
            ]
            yield from sorted(added, key=lambda record: record.at)
            time.sleep(_LOOK_S)

    @property
    def processes(self) -> Sequence[str]:
        """Those whose logs were read."""
        return tuple(self._open)

    @property
    def unknown(self) -> dict[str, int]:
        """Lines of no known form, or of which a part was left out, by process."""
        counts = {name: log.cut + records.unknown for name, (log, records) in self._open.items()}
        return {name: count for name, count in counts.items() if count}

    def close(self) -> None:
        for log, _ in self._open.values():
            log.close()

    def _find(self) -> None:
        for path in logs_of(self._folder):
            log = LogFile(path, self._since)
            if log.process not in self._open and self._is_named(log.process):
                self._open[log.process] = (log, Records(log.process))

    def _check(self) -> None:
        there = [path.stem for path in logs_of(self._folder)]
        if not there:
            raise LoomaError(f"There are no logs in {self._folder}. Start with: looma up")
        for name in self._services:
            if not any(_is_of(process, name) for process in there):
                raise ConfigError(
                    f"--service: there is no log of {name[:60]!r}. Name one of {', '.join(there)}."
                )

    def _is_named(self, process: str) -> bool:
        return not self._services or any(_is_of(process, name) for name in self._services)


def newest(records: Iterator[Record], number: int | None) -> Iterator[Record]:
    """The last `number` of them; all without."""
    return records if number is None else iter(deque(records, number))


def _is_of(process: str, name: str) -> bool:
    """Whether it is that process, or a replica of that service."""
    service, _, number = process.rpartition("-")
    return process == name or (service == name and number.isdecimal())
