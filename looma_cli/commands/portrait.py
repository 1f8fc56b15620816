"""`looma portrait` and `looma trend`: figures as bars; `looma portrait verify`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from looma_cli.options import AsJson, Org, PeriodTypeName, PeriodTypeOption

if TYPE_CHECKING:
    from ai_services.portrait.computing.verifying import Verified
    from ai_services.portrait.dimension import Subject
    from ai_services.portrait.schemas import TrendOut
    from ai_services.portrait.service import Point, Portrait
    from shared.config import Config


class _ShowByDefault(TyperGroup):
    """What is no subcommand is an id: `looma portrait u1` is `looma portrait show u1`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["show", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


portrait = typer.Typer(
    cls=_ShowByDefault,
    no_args_is_help=True,
    help="Show one account's or one customer's portrait; verify them all.",
)


@portrait.command()
def show(
    who: Annotated[str, typer.Argument(metavar="ID", help="The account's id, or the customer's.")],
    period_type: PeriodTypeOption = "week",
    period: Annotated[
        str | None, typer.Option(help="2024-W49, 2024-11 or 2024-Q4; else the newest with calls.")
    ] = None,
    customer: Annotated[
        bool, typer.Option("--customer", help="The id is a customer's, not an account's.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write a page on it to this file, .html or .pdf, instead."),
    ] = None,
    lang: Annotated[str, typer.Option(help="Of the page: zh or en.")] = "zh",
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Show one account's or one customer's portrait in one period."""
    from ai_services.portrait.dimension import CUSTOMER, USER, Subject
    from ai_services.portrait.period import parse_any
    from ai_services.portrait.schemas import PortraitOut, SubjectPortraitOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import write_json
    from looma_cli.terminal.portrait_view import show_portrait

    if period is not None:
        period_type = parse_any(period).type
    subject = Subject(CUSTOMER if customer else USER, who)
    if report is not None:
        if report.suffix not in (".html", ".pdf"):
            raise typer.BadParameter("ends with .html or .pdf", param_hint="--report")
        if lang not in ("zh", "en"):
            raise typer.BadParameter("is zh or en", param_hint="--lang")
        page = run(lambda config: _report(config, subject, period_type, period, report, lang, org))
        report.write_bytes(page)
        return
    found = run(lambda config: _portrait(config, subject, period_type, period, org))
    if as_json:
        shown = SubjectPortraitOut if customer else PortraitOut
        write_json(shown.of(found).model_dump(mode="json"))
    else:
        show_portrait(found)


async def _report(
    config: Config, subject: Subject, period_type: PeriodTypeName, period: str | None, file: Path,
    lang: Any, org: str | None,
) -> bytes:  # fmt: skip
    from ai_services.portrait.pictures.pictures import written_report
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        return await written_report(
            data.relational, organisation.org_id, subject, period_type, period, lang,
            "pdf" if file.suffix == ".pdf" else "html", asyncio.Semaphore(), now=datetime.now(UTC),
        )  # fmt: skip


@portrait.command()
def verify(
    sample: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="So many periods, by chance; else all.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make what is wrong as its calls are.")
    ] = False,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Compare portraits with what their calls say; exits with 1 if differences remain."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    verified = run(lambda config: _verify(config, sample, repair, org))
    wrong = [one for one in verified if one.wrong]
    if as_json:
        write_json(
            {
                "periods": len(verified),
                "repaired": repair and bool(wrong),
                "wrong": [
                    {
                        "period_type": one.period.type,
                        "period_key": one.period.key,
                        "portraits": one.portraits,
                        "days": one.days,
                    }
                    for one in wrong
                ],
            }
        )
    elif wrong:
        rows = [(one.period.type, one.period.key, one.portraits, one.days) for one in wrong]
        results().print(table(("type", "period", "#portraits", "#days"), rows))
        say("They are repaired." if repair else "Repair them with: looma portrait verify --repair")
    else:
        say(f"Portraits of {len(verified)} periods are as their calls are.")
    if wrong and not repair:
        raise typer.Exit(1)


async def _verify(
    config: Config, sample: int | None, repair: bool, org: str | None
) -> list[Verified]:
    from ai_services.portrait.computing.verifying import verify as verified
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from looma_cli.terminal.console import bar

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        with bar("Verifying", None, "periods") as progress:
            return await verified(
                data.relational, organisation.org_id, sample=sample, repair=repair,
                progress=progress.to,
            )  # fmt: skip


async def _portrait(
    config: Config, subject: Subject, period_type: PeriodTypeName, period: str | None,
    org: str | None,
) -> Portrait:  # fmt: skip
    from ai_services.portrait import service
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        return await service.portrait(
            data.relational, organisation.org_id, subject, period_type, period
        )


def trend(
    metric: Annotated[str, typer.Argument(help="total_calls, connect_rate, negative_rate, …")],
    period_type: PeriodTypeOption = "week",
    limit: Annotated[int, typer.Option(min=1, max=520, help="How many periods.")] = 12,
    user: Annotated[str | None, typer.Option(help="One account; else all together.")] = None,
    customer: Annotated[str | None, typer.Option(help="One customer.")] = None,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Show a metric over periods. An unknown metric lists those there are."""
    from ai_services.portrait.dimension import CUSTOMER, USER, Subject
    from ai_services.portrait.metrics import metric as known_metric
    from ai_services.portrait.schemas import TrendOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import write_json

    known_metric(metric)
    if user is not None and customer is not None:
        raise typer.BadParameter(
            "is given together with --user: name one of them", param_hint="--customer"
        )
    subject = None if user is None else Subject(USER, user)
    subject = subject if customer is None else Subject(CUSTOMER, customer)
    points = run(lambda config: _trend(config, metric, period_type, limit, subject, org))
    found = TrendOut.of(metric, period_type, points)
    if as_json:
        write_json(found.model_dump(mode="json"))
    else:
        _show_trend(found)


async def _trend(
    config: Config, metric: str, period_type: PeriodTypeName, limit: int, subject: Subject | None,
    org: str | None,
) -> list[Point]:  # fmt: skip
    from ai_services.portrait import service
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        return await service.trend(
            data.relational, organisation.org_id, period_type, metric, limit, subject
        )


def _show_trend(found: TrendOut) -> None:
    from looma_cli.terminal.console import results, say
    from looma_cli.terminal.render import bars, percent, shown

    if not found.series:
        say("There is nothing yet: import calls, then run looma compute.")
        return
    values = {point.period_key: point.value for point in found.series}
    form = percent if found.metric.endswith("_rate") else shown
    results().print(bars(f"{found.metric} by {found.period_type}", values, form=form))
