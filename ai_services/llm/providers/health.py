"""The circuit breaker of each provider and model: don't keep asking what keeps failing.

Closed, it opens after `failures` in a row. Open, it admits nobody for `open_s`, twice as long each
time in a row, `longest_s` at most. Then one request is let through: its success closes the circuit,
its failure opens it again. Only what is the provider's doing counts: no answer, 5xx.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_DOUBLINGS: Final = 32


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    failures: int = 5
    open_s: float = 5.0
    longest_s: float = 60.0
    probe_s: float = 60.0  # a probe that isn't heard of again gives its place back


@dataclass(slots=True)
class _Circuit:
    row: int = 0  # failures since the last success
    opened: int = 0  # times in a row
    until: float = 0.0
    probe: float | None = None  # since when one is under way


@dataclass(slots=True)
class Health:
    """`admits` before an attempt, then `succeeded`, `failed` or `said_nothing` once."""

    policy: HealthPolicy = field(default_factory=HealthPolicy)
    clock: Callable[[], float] = time.monotonic
    _circuits: dict[tuple[str, str], _Circuit] = field(default_factory=dict)

    def open(self, provider: str, model: str) -> bool:
        """Whether nobody would be admitted now."""
        circuit = self._circuits.get((provider, model))
        if circuit is None or not circuit.opened:
            return False
        now = self.clock()
        probing = circuit.probe is not None and now - circuit.probe < self.policy.probe_s
        return now < circuit.until or probing

    def admits(self, provider: str, model: str) -> bool:
        """Whether to ask; of an open circuit whose time is over, one request at a time."""
        if self.open(provider, model):
            return False
        circuit = self._circuits.get((provider, model))
        if circuit is not None and circuit.opened:
            circuit.probe = self.clock()
        return True

    def succeeded(self, provider: str, model: str) -> None:
        self._circuits.pop((provider, model), None)

    def failed(self, provider: str, model: str) -> None:
        circuit = self._circuits.setdefault((provider, model), _Circuit())
        circuit.row += 1
        probed = circuit.probe is not None
        circuit.probe = None
        if probed or (not circuit.opened and circuit.row >= self.policy.failures):
            wait = self.policy.open_s * 2.0 ** min(circuit.opened, _DOUBLINGS)
            circuit.opened += 1
            circuit.until = self.clock() + min(wait, self.policy.longest_s)

    def said_nothing(self, provider: str, model: str) -> None:
        """It ended without telling how the provider does: cancelled, or its own client's error."""
        circuit = self._circuits.get((provider, model))
        if circuit is not None:
            circuit.probe = None
