"""Charts and reports of a subject, or of the organisation: the use cases. What is slow to write is
written beside the event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from ai_services.portrait import service
from ai_services.portrait.dimension import ORGANISATION, Subject
from ai_services.portrait.distribution import distribution_of
from ai_services.portrait.metrics import METRICS
from ai_services.portrait.period import PeriodType
from ai_services.portrait.pictures.charts import heat_map, trend_chart
from ai_services.portrait.pictures.drawing import Drawing
from ai_services.portrait.pictures.png import png
from ai_services.portrait.pictures.report import report, whose
from ai_services.portrait.pictures.report_html import html
from ai_services.portrait.pictures.report_pdf import pdf
from ai_services.portrait.pictures.svg import svg
from ai_services.portrait.pictures.words import Lang
from shared.data_access.ports import Relational
from shared.errors import InvalidInput

HOURS: Final = "hours"
CHARTS: Final = (*METRICS, HOURS)


async def chart_svg(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    metric: str,
    limit: int,
    lang: Lang,
) -> bytes:
    drawing = await chart(relational, org_id, subject, period_type, metric, limit, lang)
    return svg(drawing).encode()


async def chart_png(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    metric: str,
    limit: int,
    turns: asyncio.Semaphore,
) -> bytes:
    """In English, whose letters are those of its font."""
    drawing = await chart(relational, org_id, subject, period_type, metric, limit, "en")
    async with turns:
        return await asyncio.to_thread(png, drawing)


async def chart(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    metric: str,
    limit: int,
    lang: Lang,
) -> Drawing:
    """The trend of a metric, or with `hours` when the calls of the newest period were."""
    if metric == HOURS:
        return await _hours(relational, org_id, subject, period_type, lang)
    if metric not in METRICS:
        problem = f"there is no chart of {metric[:60]!r}"
        raise InvalidInput.of("metric", problem, f"send one of {', '.join(CHARTS)}")
    points = await service.trend(relational, org_id, period_type, metric, limit, subject)
    return trend_chart(metric, points, whose(subject, lang), lang)


async def _hours(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    lang: Lang,
) -> Drawing:
    if subject is None:
        period = (await service.summary(relational, org_id, period_type)).period
    else:
        found = await service.portrait(relational, org_id, subject, period_type)
        subject, period = replace(subject, id=found.subject.id), found.period
    who = Subject(ORGANISATION, "") if subject is None else subject
    async with relational.tenant(org_id, readonly=True) as tx:
        spread = await distribution_of(tx, org_id, who, period)
    return heat_map(spread.calls, f"{whose(subject, lang)} · {period.key}", lang)


async def written_report(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    period_key: str | None,
    lang: Lang,
    form: Literal["html", "pdf"],
    turns: asyncio.Semaphore,
    *,
    now: datetime,
) -> bytes:
    found = await report(relational, org_id, subject, period_type, period_key, lang, now=now)
    async with turns:
        if form == "pdf":
            return await asyncio.to_thread(pdf, found)
        return (await asyncio.to_thread(html, found)).encode()
