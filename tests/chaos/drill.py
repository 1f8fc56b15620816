"""One drill: load, a fault, the return to health, and what is left afterwards."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from tests.chaos.aftermath import Aftermath, look
from tests.chaos.faults import Fault
from tests.chaos.load import KINDS, Load, Sample, outage, since, slowest
from tests.chaos.records import Records
from tests.chaos.site import Site

ALLOWED_S = 3.0  # beyond the fault's own length
_CALM_S = 2.0
_WELL_WITHIN_S = 90.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault and what may be seen of it."""

    name: str
    fault: Fault
    cuts: bool = False  # the gateway itself ends: its connections may be cut
    unnoticed: bool = False  # no request may fail at all
    forgets_keys: bool = False  # Redis loses answers kept for an Idempotency-Key, or can't keep any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a drill showed."""

    drill: Drill
    lasted: float  # seconds of the fault, by its own nature
    back: float  # seconds until what was struck was there again
    outages: dict[str, float]  # per kind of request, from the fault's beginning
    sent_again: float  # until the last failed write was taken; its client obeys Retry-After
    slowest: float  # success
    lag: float  # of the drill's own clocks: what a crowded machine adds to all figures
    requests: int  # that the fault could touch: answered since it began
    failed: int  # of those
    statuses: dict[int, int]  # of those that failed; 0 for no answer
    complaints: list[str]  # answers that failed in a way that is not allowed
    acknowledged: int  # requests that wrote
    after: Aftermath

    @property
    def longest(self) -> float:
        return max(self.outages.values())

    @property
    def in_time(self) -> bool:
        """The promise; a noisy machine may break it without anything being wrong."""
        return self.longest <= self.lasted + ALLOWED_S

    def faults(self) -> list[str]:
        """What must never be, however slow the machine is; empty if all is right."""
        after = self.after
        found = {"lost": after.lost, "twice": after.doubled, "torn": after.torn}
        lines = [f"{what}: {items[:5]} ({len(items)})" for what, items in found.items() if items]
        if self.drill.unnoticed and self.failed:
            lines.append(f"{self.failed} requests failed, and none may")
        return lines + after.wrong[:10] + self.complaints[:10]

    def told(self) -> list[str]:
        """Lines for whoever watches."""
        late = "" if self.in_time else ", LATE"
        failed = f"{self.failed} of {self.requests} failed {self.statuses}"
        times = f"slowest success {self.slowest:.1f} s; clocks late by {self.lag:.1f} s"
        return [
            f"outage {self.longest:.1f} s{late}; {failed}; {times}",
            *(f"WRONG {line}" for line in self.faults()),
        ]


async def run(
    site: Site, drill: Drill, say: Say = lambda _line: None, before_s: float = 3.0
) -> Outcome:
    """Carry a drill out on a site that is well; it is well again afterwards, or this fails."""
    records = Records(f"d{uuid4().hex[:6]}")
    async with site.requests() as client:
        load = Load(client, records, keys_hold=not drill.forgets_keys)
        load.begin()
        try:
            await _well(load, time.monotonic(), "before the fault")
            await asyncio.sleep(before_s)
            began = time.monotonic()
            say("striking")
            lasted = await drill.fault(site)
            back = time.monotonic() - began
            say(f"back after {back:.1f} s, {lasted:.1f} s of them its own; waiting for calm")
            await _well(load, time.monotonic(), "after the fault")
        finally:
            await load.finish()
    say("reading everything back")
    after = await look(site, records, load.ledger)
    struck = since(load.samples, began)
    return Outcome(
        drill,
        lasted,
        back,
        {kind: outage(struck, kind, began) for kind in KINDS},
        max((at - began for at in load.sent_again), default=0.0),
        slowest([sample for sample in load.samples if sample.sent >= began]),
        load.lag,
        len(struck),
        sum(sample.failed for sample in struck),
        dict(Counter(sample.status for sample in struck if sample.failed)),
        sorted({s.kind + ": " + s.complaint for s in load.samples if not allowed(s, drill)}),
        load.ledger.acknowledgements,
        after,
    )


def allowed(sample: Sample, drill: Drill) -> bool:
    """A success, an honest failure, or a cut connection where the gateway itself has ended."""
    return not sample.complaint or (
        drill.cuts and sample.status == 0 and "connection lost" in sample.complaint
    )


async def _well(load: Load, since: float, when: str) -> None:
    deadline = time.monotonic() + _WELL_WITHIN_S
    while not load.is_well(since, _CALM_S):
        if time.monotonic() > deadline:
            last = [f"{s.kind} {s.status} {s.complaint}" for s in load.samples if s.failed][-10:]
            raise AssertionError(f"not well within {_WELL_WITHIN_S:g} s {when}: {last}")
        await asyncio.sleep(0.1)
