"""A report of one period on one page: figures with their change, trends, hours, topics. What it says,
before anything decides how it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.portrait import service
from ai_services.portrait.detail.detail import Detail, detail
from ai_services.portrait.detail.store import Told
from ai_services.portrait.dimension import Subject
from ai_services.portrait.figures import Figures
from ai_services.portrait.history.comparison import Change, changes
from ai_services.portrait.period import PeriodType
from ai_services.portrait.pictures import words
from ai_services.portrait.pictures.charts import heat_map, trend_chart
from ai_services.portrait.pictures.drawing import Drawing
from ai_services.portrait.pictures.words import Lang
from shared.data_access.ports import Relational

FIGURES: Final = (
    "total_calls", "connected_calls", "connect_rate", "avg_duration", "avg_rounds",
    "positive_rate", "negative_rate", "high_complaint_rate", "high_churn_rate",
)  # fmt: skip
_TRENDS: Final = ("total_calls", "connect_rate")
_PERIODS: Final = 12


@dataclass(frozen=True, slots=True)
class Table:
    """`head` and each row have as many cells; the first column names the row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Report:
    title: str
    lines: Sequence[str]
    tables: Sequence[Table]
    drawings: Sequence[Drawing]
    lang: Lang


async def report(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    period_key: str | None,
    lang: Lang,
    *,
    now: datetime,
) -> Report:
    """Of the newest period with calls, or the one named; NotFound as of portraits and summaries."""
    found = await detail(relational, org_id, subject, period_type, period_key, now=now)
    trends = {
        metric: await service.trend(
            relational, org_id, period_type, metric, _PERIODS, found.subject
        )
        for metric in _TRENDS
    }
    return composed(found, trends, lang)


def whose(subject: Subject | None, lang: Lang) -> str:
    """`customer k1`, or all accounts."""
    if subject is None:
        return words.word("organisation", lang)
    return f"{words.word(subject.dimension.name, lang)} {subject.id}"


def composed(found: Detail, trends: dict[str, list[service.Point]], lang: Lang) -> Report:
    who = whose(found.subject, lang)
    period = found.period
    tables = [_figures(found, lang)]
    for name, told in (("topics", found.topics), ("reasons", found.reasons)):
        if told:
            tables.append(_told(name, told, lang))
    return Report(
        f"{words.word('report', lang)} · {who}",
        [
            f"{words.label(period, lang)} ({period.start} – {period.end})",
            f"{words.word('as of', lang)} {words.moment(found.now.as_of)}",
        ],
        tables,
        [
            *(trend_chart(metric, points, who, lang) for metric, points in trends.items()),
            heat_map(found.distribution.calls, who, lang),
        ],
        lang,
    )


def _figures(found: Detail, lang: Lang) -> Table:
    before = Figures() if found.now.before is None else found.now.before
    known = {change.metric: change for change in changes(found.now.figures, before)}
    rows = [_row(known[name], lang) for name in FIGURES]
    for name, value in (
        ("median", found.distribution.p50_duration),
        ("ninetieth", found.distribution.p90_duration),
    ):
        seconds = words.shown("avg_duration", value)
        rows.append(
            [f"{words.word(name, lang)} ({words.word('seconds', lang)})", seconds, "", "", ""]
        )
    head = [words.word(name, lang) for name in ("metric", "value", "before", "change", "p value")]
    return Table(words.label(found.period, lang), head, rows)


def _row(change: Change, lang: Lang) -> list[str]:
    metric = change.metric
    difference = words.shown(metric, change.difference)
    return [
        f"{words.word(metric, lang)} ({words.unit(metric, lang)})",
        words.shown(metric, change.value),
        words.shown(metric, change.before),
        f"+{difference}" if (change.difference or 0) > 0 else difference,
        "" if change.p_value is None else _p(change.p_value),
    ]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _told(name: str, told: Sequence[Told], lang: Lang) -> Table:
    title = words.word(name, lang)
    return Table(
        title, [title, words.word("calls", lang)], [[one.text, f"{one.calls:,}"] for one in told]
    )
