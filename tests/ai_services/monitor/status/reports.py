"""Reports of a platform on which all is well, to be spoiled by tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from ai_services.monitor.jobs.service import Scheduled
from ai_services.monitor.status.report import (
    BudgetReport,
    InstanceReport,
    Report,
    ServiceReport,
    StoreReport,
)
from shared.data_access.outbox.relay import Depth
from shared.jobs.store.jobs import Totals
from shared.jobs.store.schedules import DeclaredType, Schedule

NOW: Final = datetime(2026, 11, 30, 14, 3, 5, tzinfo=UTC)
ONE: Final = InstanceReport("10.0.0.7:8211", "1", True, 2.1)
SCHEDULE: Final = Schedule(
    1, None, "nightly", "30 2 * * *", "Asia/Shanghai", False, False, NOW, None
)
KIND: Final = DeclaredType(
    "nightly", "portrait", "Portraits of yesterday.", "30 2 * * *", True, 0, True,
    timedelta(hours=1), 3,
)  # fmt: skip
BUDGET: Final = BudgetReport(
    "organisation", "month", True, Decimal(100), Decimal(20), Decimal(5), None
)


def well(**changes: Any) -> Report:
    report = Report(
        at=NOW,
        services=[ServiceReport("auth", (ONE,)), ServiceReport("monitor", (ONE,))],
        stores=[StoreReport("postgres", 1.2), StoreReport("search", 1.4, within="postgres")],
        projections={"graph": Depth(waiting=3, lag_seconds=1.5)},
        jobs=Totals(waiting=1, queued=2, running=3, dead=0, oldest_s=4.4),
        next_runs=[Scheduled(SCHEDULE, KIND)],
        budgets=[BUDGET],
    )
    return replace(report, **changes)
