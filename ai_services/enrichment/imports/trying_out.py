"""Reading a file through without storing anything: how many of its rows are good, what is wrong with
the first of the others.

Whether a good row is new can't be told without the calls that there are: it is counted as good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any, Final, TypeVar

import orjson

from ai_services.enrichment.reading.read_file import Batch
from ai_services.enrichment.validation.reject import Reject

Item = TypeVar("Item")

_SHOWN: Final = 20  # rejected rows
_NOTES: Final = 20
# Of JSON: a result stays within the 16 KiB of a job's.
_NOTES_BYTES: Final = 3 << 10
_REJECTS_BYTES: Final = 9 << 10


@dataclass(slots=True)
class TriedOut:
    """Rows so far: `good` ones would come in; of `duplicates` a later row of the same batch counts, or
    they are further legs of a call. `noted` is how many notes there are of rows, by field.
    """

    good: int = 0
    duplicates: int = 0
    rejected: int = 0
    cut: bool = False
    warnings: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    noted: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return self.good + self.duplicates + self.rejected

    def add(self, batch: Batch) -> None:
        self.good += batch.calls
        self.duplicates += batch.duplicates
        self.rejected += len(batch.rejects)
        self.noted.update(batch.noted)
        self.cut = self.cut or batch.cut
        self.warnings += batch.warnings[: max(0, _NOTES - len(self.warnings))]
        self.rejects += batch.rejects[: max(0, _SHOWN - len(self.rejects))]

    def to_result(self) -> dict[str, Any]:
        rejects = [asdict(one) for one in self.rejects]
        for one in rejects:
            del one["callid"]  # it stands in the row
        return {
            "rows": self.rows,
            "good": self.good,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "noted": dict(self.noted),
            "cut": self.cut,
            "notes": fitting(self.warnings, _NOTES_BYTES),
            "rejects": fitting(rejects, _REJECTS_BYTES),
        }


def fitting(items: Sequence[Item], most: int) -> list[Item]:
    """The first of them, as many as have room in `most` bytes of JSON."""
    sizes = accumulate(len(orjson.dumps(item)) for item in items)
    return [item for item, size in zip(items, sizes, strict=True) if size <= most]


def read_through(
    batches: Iterator[Batch],
    on_progress: Callable[[TriedOut, int], None] = lambda _found, _bytes: None,
) -> TriedOut:
    """All of them; `on_progress` is told how far in the file that is. Raises what reading raises."""
    found = TriedOut()
    for batch in batches:
        found.add(batch)
        on_progress(found, batch.bytes_read)
    return found
