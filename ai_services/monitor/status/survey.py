"""Asks all at once how the platform is, for one organisation's eyes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from ai_services.monitor.status import organisation
from ai_services.monitor.status.patience import Patience
from ai_services.monitor.status.platform import Services, Stores
from ai_services.monitor.status.report import Report, ServiceReport, StoreReport
from shared.data_access.ports import Relational
from shared.errors import LoomaError
from shared.security import Principal
from shared.serving.peers import Peers
from shared.serving.single_flight import SingleFlight

T = TypeVar("T")

_KEPT_S: Final = 1.0  # everybody's pages refresh; services and stores aren't asked for each


@dataclass(frozen=True, slots=True)
class _Platform:
    at: float
    services: list[ServiceReport] | None
    why_not: str
    stores: list[StoreReport]


class Survey:
    """`close` at the end."""

    def __init__(
        self,
        relational: Relational,
        services: Services,
        stores: Stores,
        peers: Peers,
        patience: Patience,
    ) -> None:
        self._relational = relational
        self._services = services
        self._stores = stores
        self._peers = peers
        self._patience = patience
        self._looking: SingleFlight[str, _Platform] = SingleFlight("status")
        self._seen: _Platform | None = None

    async def report(self, principal: Principal) -> Report:
        """How all is, within about as long as patience lasts, whoever is away.

        Of organisations it tells the principal's own only.
        """
        db, org_id = self._relational, principal.org_id
        unknown: dict[str, str] = {}
        platform, projections, jobs, next_runs, budgets = await asyncio.gather(
            self._platform(),
            self._found("projections", organisation.projections(db, org_id), unknown),
            self._found("jobs", organisation.job_totals(db, org_id), unknown),
            self._found("next_runs", organisation.next_runs(db, org_id), unknown),
            self._found("budgets", organisation.budgets(self._peers, principal), unknown),
        )
        if platform.services is None:
            unknown["services"] = platform.why_not
        return Report(
            at=datetime.now(UTC),
            services=platform.services,
            stores=platform.stores,
            projections=projections,
            jobs=jobs,
            next_runs=next_runs,
            budgets=budgets,
            unknown=dict(sorted(unknown.items())),
        )

    async def close(self) -> None:
        self._looking.close()
        await self._patience.close()

    async def _platform(self) -> _Platform:
        seen = self._seen
        if seen is None or time.monotonic() - seen.at > _KEPT_S:
            seen = self._seen = await self._looking.do("", self._look)
        return seen

    async def _look(self) -> _Platform:
        (services, why_not), stores = await asyncio.gather(
            self._look_at_services(), self._stores.look()
        )
        return _Platform(time.monotonic(), services, why_not, stores)

    async def _look_at_services(self) -> tuple[list[ServiceReport] | None, str]:
        try:
            return await self._services.look(), ""
        except LoomaError as error:
            return None, error.message

    async def _found(
        self, name: str, work: Coroutine[Any, Any, T], unknown: dict[str, str]
    ) -> T | None:
        try:
            return await self._patience.ask(work)
        except LoomaError as error:
            unknown[name] = error.message
            return None
