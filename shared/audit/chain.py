"""The hash chain of an audit log: canonical form, hashes, and what breaks it.

Each entry's hash is SHA-256(previous hash + canonical JSON of the entry).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

GENESIS: Final = bytes(32)  # the hash before the first entry


@dataclass(frozen=True, slots=True)
class Entry:
    """One audited change: who (`actor`), what (`action`), to what (`target`)."""

    org_id: UUID
    seq: int
    at: datetime
    actor: str
    action: str
    target: str
    details: Mapping[str, Any]  # strings, integers, booleans, null and lists of them

    def canonical(self) -> bytes:
        """JSON with sorted keys, no blanks, UTF-8, the time in UTC to the microsecond."""
        return orjson.dumps(
            {
                "org_id": str(self.org_id),
                "seq": self.seq,
                "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
                "actor": self.actor,
                "action": self.action,
                "target": self.target,
                "details": self.details,
            },
            option=orjson.OPT_SORT_KEYS,
        )

    def hash_after(self, previous: bytes) -> bytes:
        return hashlib.sha256(previous + self.canonical()).digest()


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it was stored, with its two hashes."""

    entry: Entry
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a chain ended at some moment; seq 0 before the first entry."""

    seq: int = 0
    hash: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class Broken:
    """The first entry that is not as it was written."""

    seq: int
    problem: str


class Chain:
    """Follows a chain from its start, entry by entry, past the anchors given."""

    def __init__(self, *anchors: Anchor) -> None:
        self.end = Anchor()
        self._anchors = anchors

    def follow(self, link: Link) -> Broken | None:
        """Take the next entry; what is wrong with it, if anything."""
        seq = self.end.seq + 1
        if link.entry.seq != seq:
            return Broken(seq, "is missing")
        if link.prev_hash != self.end.hash:
            return Broken(seq, "does not follow from the entry before it")
        if link.entry.hash_after(link.prev_hash) != link.hash:
            return Broken(seq, "was changed after it was written")
        if any(a.seq == seq and a.hash != link.hash for a in self._anchors):
            return Broken(seq, "is not the entry that stood here before")
        self.end = Anchor(seq, link.hash)
        return None

    def finish(self, head: Anchor) -> Broken | None:
        """What is wrong with the end, `head` being where the chain ends by now."""
        if any(anchor.seq > self.end.seq for anchor in self._anchors):
            return Broken(self.end.seq + 1, "is missing: the end of the log was cut off")
        if self.end.seq > head.seq:
            return Broken(head.seq + 1, "was added behind the back of the database")
        return None
