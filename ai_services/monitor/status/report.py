"""What the status of the platform is made of, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from ai_services.monitor.jobs.service import Scheduled
from shared.data_access.outbox.relay import Depth
from shared.jobs.store.jobs import Totals

Health = Literal["up", "degraded", "down"]
StoreName = Literal["postgres", "redis", "graph", "vectors", "search"]

TRUTH: Final[StoreName] = "postgres"  # the store without which nothing is answered
_SELF: Final = "monitor"


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """One process: `wrong` has what it misses, in spite of which it may be `ready`."""

    address: str
    version: str
    ready: bool
    latency_ms: float
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceReport:
    name: str
    instances: tuple[InstanceReport, ...]

    @property
    def health(self) -> Health:
        ready = [one.ready for one in self.instances]
        return "up" if ready and all(ready) else "degraded" if any(ready) else "down"


@dataclass(frozen=True, slots=True)
class StoreReport:
    """`latency_ms` is that of a ping, `reason` empty where it was answered."""

    name: StoreName
    latency_ms: float
    reason: str = ""
    within: StoreName | None = None  # the store whose server this one lives in

    @property
    def up(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """What an organisation's budget holds in its current window; `renews_at` None: never."""

    subject: str  # 'organisation', 'key:…', 'user:…', 'purpose:…'
    period: str
    hard: bool
    amount: Decimal
    spent: Decimal
    reserved: Decimal
    renews_at: datetime | None

    @property
    def used(self) -> float:
        """The share that is spent or reserved; 1 of a budget of nothing."""
        return float((self.spent + self.reserved) / self.amount) if self.amount else 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """Of the platform: services and stores. Of one organisation: all that follows.

    What could not be found out is None, and `unknown` says why, by its name here.
    """

    at: datetime
    services: Sequence[ServiceReport] | None
    stores: Sequence[StoreReport]
    projections: Mapping[str, Depth] | None
    jobs: Totals | None
    next_runs: Sequence[Scheduled] | None
    budgets: Sequence[BudgetReport] | None
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def health(self) -> Health:
        """Down: PostgreSQL is, or every service but the one that tells. Up: there is no reason."""
        others = [one.health for one in self.services or () if one.name != _SELF]
        if any(one.name == TRUTH and not one.up for one in self.stores):
            return "down"
        if others and all(health == "down" for health in others):
            return "down"
        return "degraded" if self.reasons else "up"

    @property
    def reasons(self) -> list[str]:
        """Why it isn't up, the gravest first."""
        return [*self._stores(), *self._services(), *self._work(), *self._gaps()]

    def _stores(self) -> Iterator[str]:
        for one in self.stores:
            if not one.up:
                yield f"{one.name} is down: {one.reason}"

    def _services(self) -> Iterator[str]:
        for service in self.services or ():
            if not service.instances:
                yield f"{service.name} is down: no instance of it is announced"
            for one in service.instances:
                if not one.ready:
                    yield f"{service.name} at {one.address} is not ready: {'; '.join(one.wrong)}"

    def _work(self) -> Iterator[str]:
        for name, depth in (self.projections or {}).items():
            if depth.dead:
                yield f"{name} has dead letters: {depth.dead} of its events were given up"
        if self.jobs is not None and self.jobs.dead:
            yield f"jobs that died within 24 hours and weren't retried: {self.jobs.dead}"

    def _gaps(self) -> Iterator[str]:
        for name, reason in self.unknown.items():
            yield f"{name.replace('_', ' ')} unknown: {reason}"
