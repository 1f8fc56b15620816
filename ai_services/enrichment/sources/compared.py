"""What a comparison of a source's day tells, and by what calls are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

import orjson

from shared.phones import mask_phones

_NAMED: Final = 20  # calls that differ, of each kind
_FIELDS: Final = (
    "task_id", "user_id", "customer_id", "started_at", "duration_ms", "bill_ms", "rounds",
    "level_name", "call_status", "hangup_by",
)  # fmt: skip
_MASK: Final = (1 << 64) - 1


@dataclass(slots=True)
class Differing:
    """How many calls differ in one way, and some of them."""

    count: int = 0
    callids: list[str] = field(default_factory=list)

    def add(self, callids: Iterable[str]) -> None:
        for callid in callids:
            self.count += 1
            if len(self.callids) < _NAMED:
                self.callids.append(callid)


@dataclass(slots=True)
class Compared:
    """One day of one table, or of all tables of a source of legs. `theirs` and `ours` are calls, the sums those of their digests: where
    they are equal, all is. `rejected` rows are in neither, nor is what was `erased` and stays out;
    `moved` calls are another table's.
    """

    source: str
    shard: str
    day: date
    theirs: int = 0
    ours: int = 0
    rejected: int = 0
    erased: int = 0
    moved: int = 0
    their_sum: int = 0
    our_sum: int = 0
    missing: Differing = field(default_factory=Differing)
    changed: Differing = field(default_factory=Differing)
    extra: Differing = field(default_factory=Differing)
    repaired: int = 0

    @property
    def differing(self) -> int:
        return sum(one.count for one in (self.missing, self.changed, self.extra))

    @property
    def differs(self) -> bool:
        return self.differing > 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing differs any more."""
        return self.repaired >= self.differing

    def count_theirs(self, digest: int) -> None:
        self.theirs += 1
        self.their_sum = (self.their_sum + digest) & _MASK

    def count_ours(self, digest: int) -> None:
        self.ours += 1
        self.our_sum = (self.our_sum + digest) & _MASK

    def examples(self) -> list[str]:
        """A line for each way in which calls differ."""
        named = (("missing", self.missing), ("changed", self.changed), ("extra", self.extra))
        return [
            f"{self.shard} {self.day}: {one.count:,} {name}: {mask_phones(', '.join(one.callids))}"
            f"{', …' if one.count > len(one.callids) else ''}"
            for name, one in named
            if one.count
        ]

    def to_json(self) -> dict[str, Any]:
        def shown(one: Differing) -> dict[str, Any]:
            return {"count": one.count, "callids": one.callids}

        return {
            "source": self.source, "table": self.shard, "day": self.day.isoformat(),
            "there": self.theirs, "here": self.ours, "rejected": self.rejected,
            "erased": self.erased, "other_tables": self.moved, "checksum_there": f"{self.their_sum:016x}",
            "checksum_here": f"{self.our_sum:016x}", "missing": shown(self.missing),
            "changed": shown(self.changed), "extra": shown(self.extra), "repaired": self.repaired,
        }  # fmt: skip


def digest_of(callid: str, row: Mapping[str, Any], phone: bytes | None, turns: Any) -> int:
    """64 bits of a call as it is kept, so that sums of them tell equal sets of calls."""
    values: Sequence[Any] = [callid, *(_plain(row[name]) for name in _FIELDS), turns]
    if row["agent_id"] is not None:  # sums of calls without one stay what they were
        values = [*values, row["agent_id"]]
    text = orjson.dumps(values, option=orjson.OPT_SORT_KEYS) + (phone or b"")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
