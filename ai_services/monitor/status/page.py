"""The status as a page: one file, asked of nobody else, without a script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final, NewType
from zoneinfo import ZoneInfo

from ai_services.monitor.jobs.service import Scheduled
from ai_services.monitor.status.report import (
    BudgetReport,
    Health,
    Report,
    ServiceReport,
    StoreReport,
)
from shared.data_access.outbox.relay import Depth
from shared.jobs.store.jobs import Totals

Html = NewType("Html", str)  # what may stand in a page as it is

_REFRESH_S: Final = 10
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{refresh}">
<title>Looma AI: {health}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header><h1 class="{health}">{sign} Looma AI is {health}</h1><time datetime="{at}">{shown_at}</time></header>
{reasons}
<main>
{sections}
</main>
</body>
</html>
"""
_SIGNS: Final[dict[Health, str]] = {"up": "●", "degraded": "▲", "down": "■"}  # not by colour alone
_NONE: Final = Html('<span class="faint">–</span>')


def html_page(found: Report) -> tuple[str, str]:
    """The page, and the Content-Security-Policy under which it is to be shown."""
    page = _PAGE.format(
        refresh=_REFRESH_S,
        style=_style(),
        health=found.health,
        sign=_SIGNS[found.health],
        at=found.at.isoformat(),
        shown_at=f"{found.at:%Y-%m-%d %H:%M:%S} UTC, anew every {_REFRESH_S} s",
        reasons=_reasons(found),
        sections="\n".join(_sections(found)),
    )
    return page, _policy()


def _sections(found: Report) -> Iterator[Html]:
    unknown = found.unknown
    services = None if found.services is None else _services(found.services)
    yield _section("Services", services, unknown.get("services"), wide=True)
    yield _section("Stores", _stores(found.stores), None)
    depths = None if found.projections is None else _projections(found.projections)
    yield _section("Projections", depths, unknown.get("projections"))
    jobs = None if found.jobs is None else _jobs(found.jobs)
    yield _section("Jobs", jobs, unknown.get("jobs"), wide=True)
    runs = None if found.next_runs is None else _next_runs(found.next_runs)
    yield _section("Next runs", runs, unknown.get("next_runs"), wide=True)
    budgets = None if found.budgets is None else _budgets(found.budgets)
    yield _section("Budgets", budgets, unknown.get("budgets"), wide=True)


def _reasons(found: Report) -> Html:
    if not found.reasons:
        return Html("")
    items = "".join(f"<li>{_text(reason)}</li>" for reason in found.reasons)
    return Html(f'<section class="reasons {found.health}"><ul>{items}</ul></section>')


def _services(services: Iterable[ServiceReport]) -> Html:
    columns = ("service", "state", "instance", "version", "#answer", "what is wrong")
    return _table(columns, [row for service in services for row in _instances(service)])


def _instances(service: ServiceReport) -> Iterator[tuple[Html, ...]]:
    name = _text(service.name)
    if not service.instances:
        said = _text("no instance is announced")
        yield name, _state(service.health), _NONE, _NONE, _NONE, said
    for one in service.instances:
        yield (
            name,
            _state("up" if one.ready else "down"),
            _text(one.address),
            _text(one.version),
            *_numbers(f"{one.latency_ms:.1f} ms"),
            _text("; ".join(one.wrong)),
        )


def _stores(stores: Iterable[StoreReport]) -> Html:
    rows = [
        (
            _text(one.name if one.within is None else f"{one.name} (in {one.within})"),
            _state("up" if one.up else "down"),
            *_numbers(f"{one.latency_ms:.1f} ms"),
            _text(one.reason),
        )
        for one in stores
    ]
    return _table(("store", "state", "#ping", "what is wrong"), rows)


def _projections(depths: Mapping[str, Depth]) -> Html:
    rows = [
        (_text(name), *_numbers(one.waiting, f"{one.lag_seconds:,.0f} s", one.dead))
        for name, one in depths.items()
    ]
    return _table(("projection", "#waiting", "#lag", "#given up"), rows)


def _jobs(totals: Totals) -> Html:
    oldest = "–" if totals.oldest_s is None else f"{totals.oldest_s:,.0f} s"
    told = {
        "queued": f"{totals.queued:,}",
        "running": f"{totals.running:,}",
        "waiting for their time": f"{totals.waiting:,}",
        "oldest queued": oldest,
        "dead within 24 h": f"{totals.dead:,}",
    }
    return Html(
        f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{n}</dd></div>' for name, n in told.items())}</dl>"
    )


def _next_runs(runs: Sequence[Scheduled]) -> Html:
    rows = []
    for one in runs:
        at = one.schedule.next_at
        local = "" if at is None else f"{at.astimezone(ZoneInfo(one.schedule.zone)):%a %d %b %H:%M}"
        name, zone, summary = one.schedule.name, one.schedule.zone, one.kind.summary
        rows.append((_text(name), _text(local), _text(zone), _text(summary)))
    return _table(("schedule", "#next run", "time zone", "what it does"), rows)


def _budgets(budgets: Iterable[BudgetReport]) -> Html:
    rows = [
        (
            _text(one.subject),
            _text(one.period),
            _text("hard" if one.hard else "soft"),
            *_numbers(f"{one.amount:,.2f}", f"{one.spent:,.2f}", f"{one.reserved:,.2f}"),
            Html(
                f'<progress class="{"down" if one.used >= 1 else "up"}" max="1" '
                f'value="{min(one.used, 1.0):.4f}"></progress> {one.used:.0%}'
            ),
        )
        for one in budgets
    ]
    columns = ("budget of", "per", "kind", "#amount", "#spent", "#reserved", "used")
    return _table(columns, rows)


def _section(title: str, body: Html | None, unknown: str | None, *, wide: bool = False) -> Html:
    if body is None:
        body = Html(f'<p class="degraded">▲ Unknown: {_text(unknown or "not asked")}</p>')
    kind = ' class="wide"' if wide else ""
    return Html(f"<section{kind}><h2>{_text(title)}</h2>{body}</section>")


def _table(columns: Sequence[str], rows: Sequence[Sequence[Html]]) -> Html:
    """Columns whose name starts with '#' hold numbers."""
    if not rows:
        return Html('<p class="faint">None.</p>')
    kinds = [' class="number"' if name.startswith("#") else ' class="text"' for name in columns]
    head = "".join(
        f"<th{kind}>{_text(name.lstrip('#'))}</th>"
        for kind, name in zip(kinds, columns, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(f'<td{k}>{cell}</td>' for k, cell in zip(kinds, row, strict=True))}</tr>"
        for row in rows
    )
    return Html(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _state(health: Health) -> Html:
    return Html(f'<span class="state {health}">{_SIGNS[health]} {health}</span>')


def _numbers(*values: int | str) -> tuple[Html, ...]:
    return tuple(_text(f"{one:,}" if isinstance(one, int) else one) for one in values)


def _text(value: str) -> Html:
    return Html(escape(value))


@cache
def _style() -> str:
    return files("ai_services.monitor.status").joinpath("page.css").read_text("utf-8")


@cache
def _policy() -> str:
    style = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{style}'",
            "img-src data:",  # the empty icon
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
