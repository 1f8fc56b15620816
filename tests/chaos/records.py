"""Call records to write in a drill, and the ledger of what was acknowledged of them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Record = dict[str, Any]

_BASE = dt.datetime(2025, 3, 28, tzinfo=dt.UTC)  # near the end of a week, a month and a quarter
_USERS = 4
_CUSTOMERS = 25
_FAILED = ("busy", "no_answer", "power_off", "invalid_number", "rejected", "failed")
_SAID = ("谢谢，很满意", "我要投诉你们", "太贵了，我不用了", "please cancel my plan", "thank you")
# What a call that was read back must have in common with the record that was sent.
_FIELDS = (
    "callid", "task_id", "user_id", "customer_id", "duration_ms", "bill_ms", "rounds",
    "level_name", "call_status", "hangup_by",
)  # fmt: skip


class Records:
    """New records of one drill; each user, word and callid is the drill's own."""

    def __init__(self, drill: str, seed: int = 7) -> None:
        self.drill = drill
        self.word = "zq" + "".join(letter for letter in drill if letter.isalnum())
        self.users = [f"{drill}-u{number}" for number in range(_USERS)]
        self._random = random.Random(seed)
        self._made = 0

    def some(self) -> list[Record]:
        """One to three records of one request."""
        return [self._one() for _ in range(self._random.randint(1, 3))]

    def corrected(self, record: Record) -> Record:
        return {**record, "duration_ms": record["duration_ms"] + 1000, "level_name": "B"}

    def _one(self) -> Record:
        chance = self._random
        self._made += 1
        connected = chance.random() < 0.7
        duration = chance.randrange(1, 300_000) if connected else 0
        record = {
            "callid": f"{self.drill}-{self._made:05}",
            "task_id": f"{self.drill}-t",
            "user_id": chance.choice(self.users),
            "customer_id": f"{self.drill}-c{chance.randrange(_CUSTOMERS)}",
            "started_at": (_BASE + dt.timedelta(minutes=chance.randrange(8000))).isoformat(),
            "duration_ms": duration,
            "bill_ms": duration,
            "rounds": chance.randrange(1, 12) if connected else 0,
            "level_name": chance.choice("ABCDEF") if connected else None,
            "call_status": "connected" if connected else chance.choice(_FAILED),
            "hangup_by": chance.choice((1, 2)) if connected else None,
        }
        if connected and chance.random() < 0.6:
            text = f"{self.word} {chance.choice(_SAID)}"
            record["turns"] = [
                {"role": "agent", "at_ms": 0, "text": "您好"},
                {"role": "customer", "at_ms": 900, "text": text},
            ]
        return record


class Fate(Enum):
    """What its client knows of a request that wrote."""

    ACKNOWLEDGED = "acknowledged"
    UNKNOWN = "unknown"  # refused by a 5xx, or no answer: carried out or not, but not twice


@dataclass(slots=True)
class Ledger:
    """What was sent. `may_be` holds, per callid, the records of which one must be there now."""

    may_be: dict[str, list[Record]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    together: list[tuple[str, ...]] = field(default_factory=list)  # new calls of one request
    acknowledgements: int = 0  # requests
    repeated: list[str] = field(default_factory=list)  # carried out before, though sent once

    def note(self, records: Sequence[Record], fate: Fate) -> None:
        """A request with new records has ended."""
        self.together.append(tuple(record["callid"] for record in records))
        for record in records:
            self.may_be[record["callid"]] = [record]
        if fate is Fate.ACKNOWLEDGED:
            self.acknowledgements += 1
            self.acknowledged |= {record["callid"] for record in records}

    def note_replay(self, records: Sequence[Record], first: object, again: object) -> None:
        """What was acknowledged with an Idempotency-Key was sent again with it."""
        if again != first:
            self.repeated += [record["callid"] for record in records]

    def note_correction(self, record: Record, fate: Fate) -> None:
        """A request that changes a call has ended; after an unknown end the call is left alone."""
        if fate is Fate.ACKNOWLEDGED:
            self.acknowledgements += 1
            self.may_be[record["callid"]] = [record]
        else:
            self.may_be[record["callid"]].append(record)

    def correctable(self) -> list[Record]:
        """Acknowledged records of connected calls about which nothing is in doubt."""
        return [
            records[0]
            for callid, records in self.may_be.items()
            if callid in self.acknowledged
            and len(records) == 1
            and records[0]["call_status"] == "connected"
        ]

    def lost(self, found: Iterable[Record]) -> list[str]:
        """Acknowledged calls that are not there, or not as acknowledged."""
        here = {call["callid"]: call for call in found}
        return [
            callid
            for callid in sorted(self.acknowledged)
            if callid not in here
            or not any(equal(record, here[callid]) for record in self.may_be[callid])
        ]

    def doubled(self, found: Sequence[Record]) -> list[str]:
        """Calls that are there twice, or that nobody sent, and requests carried out twice."""
        callids = [call["callid"] for call in found]
        strange = [callid for callid in callids if callid not in self.may_be]
        return sorted({c for c in callids if callids.count(c) > 1}) + strange + self.repeated

    def torn(self, found: Iterable[Record]) -> list[tuple[str, ...]]:
        """Requests and calls of which a part came in; calls without their transcript."""
        here = {call["callid"]: call for call in found}
        halves = [
            callids
            for callids in self.together
            if 0 < sum(c in here for c in callids) < len(callids)
        ]
        odd = [
            (callid,)
            for callid, call in here.items()
            if callid in self.may_be
            and (
                call["has_transcript"] is not ("turns" in self.may_be[callid][0])
                or not any(equal(record, call) for record in self.may_be[callid])
            )
        ]
        return halves + odd


def equal(record: Record, call: Record) -> bool:
    """Whether a call that was read is this record."""
    same_time = dt.datetime.fromisoformat(record["started_at"]) == dt.datetime.fromisoformat(
        call["started_at"]
    )
    return same_time and all(record[name] == call[name] for name in _FIELDS)
