"""A small, steady load through the gateway: writes of three kinds and reads of six.

Requests begin at fixed times, whatever became of those before (an open loop): a pause is measured
as long as it is. Each answer is a sample; what writes acknowledged stands in the ledger.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.chaos.records import Fate, Ledger, Record, Records

WRITES = ("write", "keyed write", "correction")
READS = ("call", "list", "search", "portrait", "periods", "me")
KINDS = WRITES + READS
# 409: the first request with this Idempotency-Key may still be under way.
HONEST = (409, 502, 503, 504)
# Longer than any route's timeout here (15 s), with room for a slow machine: who waits longer hangs.
HANGING_S = 25.0
_PER_SECOND = {"write": 6.0, "keyed write": 4.0, "correction": 2.0}
_READS_PER_SECOND = 4.0
_RETRY_FOR_S = 90.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, or its absence (status 0), by the monotonic clock."""

    kind: str
    sent: float
    answered: float
    status: int
    complaint: str = ""  # what is wrong with the way in which it failed

    @property
    def failed(self) -> bool:
        return not 200 <= self.status < 300


def complaint_about(answer: httpx.Response) -> str:
    """Empty if this is a success or an honest failure."""
    if 200 <= answer.status_code < 300:
        return ""
    if answer.status_code not in HONEST:
        return f"{answer.status_code} {answer.text[:200]}"
    try:
        body = answer.json()
    except ValueError:
        return f"{answer.status_code} without the envelope: {answer.text[:200]}"
    if not {"code", "error", "message", "request_id"} <= body.keys():
        return f"{answer.status_code} without the envelope: {answer.text[:200]}"
    if not answer.headers.get("Retry-After", "").isdigit():
        return f"{answer.status_code} {body['error']} without Retry-After"
    return ""


@dataclass(slots=True)
class Load:
    """Runs from `begin` to `finish`."""

    client: httpx.AsyncClient
    records: Records
    keys_hold: bool = True  # what was acknowledged with a key is answered again, not carried out
    ledger: Ledger = field(default_factory=Ledger)
    samples: list[Sample] = field(default_factory=list)
    sent_again: list[float] = field(default_factory=list)  # when a write that had failed was taken
    lag: float = 0.0  # seconds that the drill's own clocks were late at most: a crowded machine
    defects: list[BaseException] = field(default_factory=list)  # of the drill itself
    _random: random.Random = field(default_factory=lambda: random.Random(11))
    _clocks: list[asyncio.Task[None]] = field(default_factory=list)
    _in_flight: set[asyncio.Task[None]] = field(default_factory=set)
    _in_correction: set[str] = field(default_factory=set)

    def begin(self) -> None:
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "write": self._write,
            "keyed write": self._keyed_write,
            "correction": self._correct,
        }
        for kind, one in work.items():
            self._every(_PER_SECOND[kind], one)
        for kind in READS:
            self._every(_READS_PER_SECOND, lambda kind=kind: self._read(kind))

    async def finish(self) -> None:
        """Begin nothing new and let what is under way end."""
        for clock in self._clocks:
            clock.cancel()
        await asyncio.gather(*self._clocks, return_exceptions=True)
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))
        if self.defects:
            raise self.defects[0]

    def is_well(self, since: float, seconds: float) -> bool:
        """Whether since then every kind was answered, and nothing failed in the last `seconds`."""
        now = time.monotonic()
        recent = [s for s in self.samples if s.sent >= since]
        calm = not any(s.failed and s.answered >= now - seconds for s in self.samples)
        return calm and {s.kind for s in recent if not s.failed} == set(KINDS)

    # One request of each kind.

    async def _write(self) -> None:
        records = self.records.some()
        answer = await self._ask("write", "POST", "/api/v1/calls", json={"records": records})
        self._note(records, answer, first=True)

    async def _keyed_write(self) -> None:
        """Sent again with its key until it is acknowledged, when the answers say so."""
        records, headers = self.records.some(), {"Idempotency-Key": str(uuid4())}
        deadline, again = time.monotonic() + _RETRY_FOR_S, False
        while True:
            answer = await self._ask(
                "keyed write", "POST", "/api/v1/calls", json={"records": records}, headers=headers
            )
            if (answer is not None and answer.is_success) or time.monotonic() > deadline:
                break
            wait = "1" if answer is None else answer.headers.get("Retry-After", "1")
            again = True
            await asyncio.sleep(float(wait))
        if again:
            self.sent_again.append(time.monotonic())
        self._note(records, answer, first=False)
        if self.keys_hold and answer is not None and answer.is_success:
            await self._replay(records, answer, headers)

    async def _replay(
        self, records: list[Record], answer: httpx.Response, headers: dict[str, str]
    ) -> None:
        """Send what was acknowledged once more: whatever became of the platform in between, its
        key has the first answer, since carried out again the records would be unchanged.
        """
        again = await self._ask(
            "keyed write", "POST", "/api/v1/calls", json={"records": records}, headers=headers
        )
        if again is not None and again.is_success:
            self.ledger.note_replay(records, answer.json()["data"], again.json()["data"])

    async def _correct(self) -> None:
        free = [r for r in self.ledger.correctable() if r["callid"] not in self._in_correction]
        if not free:
            return
        record = self.records.corrected(self._random.choice(free[-200:]))
        self._in_correction.add(record["callid"])
        answer = await self._ask("correction", "POST", "/api/v1/calls", json={"records": [record]})
        done = answer is not None and answer.is_success
        assert answer is None or not done or answer.json()["data"]["updated"] == 1, answer.text
        self.ledger.note_correction(record, Fate.ACKNOWLEDGED if done else Fate.UNKNOWN)
        self._in_correction.discard(record["callid"])

    async def _read(self, kind: str) -> None:
        user = self._random.choice(self.records.users)
        known = self.ledger.correctable()
        path = {
            "call": f"/api/v1/calls/{self._random.choice(known[-50:])['callid']}" if known else "",
            "list": f"/api/v1/calls?limit=20&user_id={user}",
            "search": f"/api/v1/calls/search?limit=5&q={self.records.word}",
            "portrait": "/api/v1/portrait/summary?period_type=quarter",
            "periods": "/api/v1/periods?type=month",
            "me": "/api/v1/auth/me",
        }[kind]
        if path:
            await self._ask(kind, "GET", path)

    def _note(self, records: list[Record], answer: httpx.Response | None, *, first: bool) -> None:
        if answer is None or not answer.is_success:
            self.ledger.note(records, Fate.UNKNOWN)
            return
        self.ledger.note(records, Fate.ACKNOWLEDGED)
        results = answer.json()["data"]["results"]
        assert not any(r["status"] == "rejected" for r in results), answer.text
        # A keyed write may have been carried out before its answer was lost, which leaves it
        # unchanged; a plain one was not.
        right = ("inserted",) if first else ("inserted", "unchanged")
        self.ledger.repeated += [r["callid"] for r in results if r["status"] not in right]

    async def _ask(self, kind: str, method: str, path: str, **more: Any) -> httpx.Response | None:
        sent, answer, complaint = time.monotonic(), None, ""
        try:
            async with asyncio.timeout(HANGING_S):
                answer = await self.client.request(method, path, **more)
            complaint = complaint_about(answer)
        except TimeoutError:
            complaint = f"no answer within {HANGING_S:g} s"
        except httpx.TransportError as error:
            complaint = f"connection lost: {type(error).__name__}"
        status = 0 if answer is None else answer.status_code
        self.samples.append(Sample(kind, sent, time.monotonic(), status, complaint))
        return answer

    # The clocks.

    def _every(self, per_second: float, work: Callable[[], Awaitable[None]]) -> None:
        self._clocks.append(asyncio.create_task(self._tick(1.0 / per_second, work)))

    async def _tick(self, interval: float, work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(interval * self._random.random())
        due = time.monotonic()
        while True:
            task: asyncio.Task[None] = asyncio.ensure_future(work())  # type: ignore[arg-type]
            self._in_flight.add(task)
            task.add_done_callback(self._ended)
            due = max(due + interval, time.monotonic() - interval)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.lag = max(self.lag, time.monotonic() - due)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            self.defects.append(defect)


def since(samples: list[Sample], began: float) -> list[Sample]:
    """Those that a fault that began then could touch, requests that were under way with them."""
    return [sample for sample in samples if sample.answered >= began]


def outage(samples: list[Sample], kind: str, began: float) -> float:
    """Seconds from `began` to the last failed answer of that kind; 0 if none failed."""
    return max((s.answered - began for s in samples if s.kind == kind and s.failed), default=0.0)


def slowest(samples: list[Sample]) -> float:
    """Seconds that the slowest success took."""
    return max((s.answered - s.sent for s in samples if not s.failed), default=0.0)
