"""A portrait as a page of bars."""

from __future__ import annotations

from rich.columns import Columns

from ai_services.portrait.schemas import FiguresOut, PortraitOut
from ai_services.portrait.service import Portrait
from looma_cli.terminal.console import results
from looma_cli.terminal.render import bars, percent, shown


def show_portrait(found: Portrait) -> None:
    console = results()
    p = found.period
    console.print(
        f"[bold]{found.subject.id}[/]  {p.type} {p.key}  [dim]{p.start} – {p.end}", soft_wrap=True
    )
    _show_figures(PortraitOut.of(found))


def _show_figures(f: FiguresOut) -> None:
    console = results()
    stats, connected = f.call_stats, f.call_stats.connected_calls
    rate = percent(stats.connect_rate)
    console.print(
        f"{stats.total_calls:,} calls, {connected:,} connected ({rate}); each "
        f"{shown(stats.avg_duration)} s and {shown(stats.avg_rounds)} rounds on average\n",
        soft_wrap=True,
    )
    sentiment, risk = f.sentiment_analysis, f.risk_analysis
    groups = {
        "Intention": f.intention_dist.model_dump(),
        "Sentiment": sentiment.model_dump(exclude={"avg_score"}),
        "Complaint risk": risk.complaint_risk.model_dump(),
        "Churn risk": risk.churn_risk.model_dump(),
        "Hung up by": f.hangup_dist.model_dump(),
    }
    drawn = [bars(title, counts, of=connected) for title, counts in groups.items()]
    if f.fail_reason_dist:
        reasons = sorted(f.fail_reason_dist.items(), key=lambda item: -item[1])
        drawn.append(bars("Not connected", dict(reasons), of=stats.total_calls - connected))
    console.print(Columns(drawn, padding=(1, 4)))
