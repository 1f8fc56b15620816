"""`looma costs` and `looma budgets`: what requests to models came to, and what they may come to."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from ai_services.llm.spend.budget_store import Budget
    from ai_services.llm.spend.costs import Costs
    from ai_services.llm.spend_schemas import BudgetIn
    from shared.config import Config

budgets = typer.Typer(
    invoke_without_command=True,
    help="What requests to models may cost: list, set, remove. Without more: list.",
)
Group = Literal["day", "model", "purpose", "user", "key"]
Period = Literal["day", "week", "month", "total"]
Subject = Annotated[
    str, typer.Argument(help="organisation, key:ID, user:ID or purpose:NAME.", metavar="SUBJECT")
]


def costs(
    by: Annotated[Group, typer.Option(help="Of what to show the sums.")] = "day",
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day; else 30 days with --to."),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; else today.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Show what requests to language models came to, as bars."""
    from ai_services.llm.spend_schemas import CostsOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import write_json

    if as_csv and as_json:
        raise typer.BadParameter("--csv or --json, not both")
    found, currency = run(
        lambda config: _costs(config, org, by, first and first.date(), last and last.date())
    )
    if as_csv:
        typer.echo(found.csv(), nl=False)
    elif as_json:
        write_json(CostsOut.of(found, len(found.groups)).model_dump(mode="json"))
    else:
        _show_costs(found, currency)


async def _costs(
    config: Config, org: str | None, by: Group, first: date | None, last: date | None
) -> tuple[Costs, str]:
    from ai_services.llm.spend.costs import costs as summed
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return await summed(relational, org_id, by, first, last), _currency(config)


def _currency(config: Config) -> str:
    """Of the prices in force; '' where the models can't be read: costs are there all the same."""
    from ai_services.llm.models.opening import open_catalogue
    from looma_cli.terminal.console import say
    from shared.errors import ConfigError

    try:
        catalogue = open_catalogue(config)
    except ConfigError as error:
        say(f"The currency is unknown: {error.message}")
        return ""
    return catalogue.currency if catalogue.models else ""


def _show_costs(found: Costs, currency: str) -> None:
    from looma_cli.terminal.console import results, say
    from looma_cli.terminal.render import bars

    total = found.total
    if not total.attempts:
        say(f"No model was asked from {found.first} to {found.last}.")
        return
    console = results()
    title = f"Cost by {found.group_by}, {found.first} – {found.last}"
    drawn = {key or f"(no {found.group_by})": float(one.cost) for key, one in found.groups}
    console.print(
        bars(title, drawn, of=float(total.cost) or None, form=lambda cost: f"{cost:,.4f}")
    )
    under_way = f", {_money(total.reserved, currency)} reserved" if total.reserved else ""
    console.print(
        f"\n{_money(total.cost, currency)} for {total.attempts:,} attempts{under_way}; tokens: "
        f"{total.input:,} read ({total.cached:,} from a cache), {total.output:,} written",
        soft_wrap=True,
    )


def _money(amount: Decimal, currency: str) -> str:
    return f"{amount:,.4f} {currency}".rstrip()


@budgets.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_budgets()


@budgets.command("list")
def list_budgets(org: Org = None, as_json: AsJson = False) -> None:
    """Show all budgets and what is left of them."""
    from ai_services.llm.spend_schemas import BudgetOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import say, write_json

    found = run(lambda config: _list(config, org))
    if as_json:
        write_json([BudgetOut.of(budget).model_dump(mode="json") for budget in found])
    elif found:
        _show_budgets(found)
    else:
        say("There are none. Set one: looma budgets set organisation month 100")


@budgets.command("set")
def set_budget(
    subject: Subject,
    period: Annotated[
        Period, typer.Argument(help="Local days, weeks, months; total never renews.")
    ],
    amount: Annotated[str, typer.Argument(help="In the currency of the prices, such as 25.00.")],
    soft: Annotated[
        bool, typer.Option("--soft", help="Tell at 50, 80 and 100 % only; refuse nothing.")
    ] = False,
    org: Org = None,
) -> None:
    """Set the budget of a subject and period, new or changed."""
    from looma_cli.runner import run

    _show_budgets([run(lambda config: _set(config, org, subject, period, amount, not soft))])


@budgets.command()
def remove(
    subject: Subject,
    period: Annotated[Period, typer.Argument(help="Of the budget.")],
    org: Org = None,
) -> None:
    """Take a budget away."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    run(lambda config: _remove(config, org, subject, period))
    say("Removed.")


async def _list(config: Config, org: str | None) -> list[Budget]:
    from ai_services.llm.spend.budgets import list_budgets as listed
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return await listed(relational, org_id)


def _wanted(subject: str, period: Period, amount: str, *, hard: bool) -> BudgetIn:
    """InvalidInput that names what is wrong."""
    from ai_services.llm.spend_schemas import BudgetIn
    from shared.serving.validation import validate

    kind, _, name = subject.partition(":")
    body = {
        "subject_kind": kind, "subject": name, "period": period, "amount": amount, "hard": hard,
    }  # fmt: skip
    wanted: BudgetIn = validate(BudgetIn, body, "budget")
    return wanted


async def _set(
    config: Config, org: str | None, subject: str, period: Period, amount: str, hard: bool
) -> Budget:
    from ai_services.llm.spend.budgets import set_budget as put
    from looma_cli.stores.organisation import opened_for

    wanted = _wanted(subject, period, amount, hard=hard)
    async with opened_for(config, org) as (relational, org_id):
        return await put(
            relational, org_id, wanted.subject_kind, wanted.subject, wanted.period, wanted.amount,
            hard=wanted.hard,
        )  # fmt: skip


async def _remove(config: Config, org: str | None, subject: str, period: Period) -> None:
    from ai_services.llm.spend.budgets import delete_budget
    from ai_services.llm.spend.budgets import list_budgets as listed
    from looma_cli.stores.organisation import opened_for
    from shared.errors import NotFound

    wanted = _wanted(subject, period, "0", hard=True)
    async with opened_for(config, org) as (relational, org_id):
        for budget in await listed(relational, org_id):
            found = budget.subject_kind, budget.subject, budget.period
            if found == (wanted.subject_kind, wanted.subject, wanted.period):
                await delete_budget(relational, org_id, budget.budget_id)
                return
    raise NotFound(f"There is no budget of {subject} per {period}. `looma budgets` lists them.")


def _show_budgets(found: list[Budget]) -> None:
    from looma_cli.terminal.console import results
    from looma_cli.terminal.render import fraction_bar, table

    columns = (
        "subject", "period", "kind", "#amount", "#spent", "#reserved", "#left", "used", "renews",
    )  # fmt: skip
    rows = [
        (
            f"{one.subject_kind}:{one.subject}".rstrip(":"), one.period,
            "hard" if one.hard else "soft", *_amounts(one),
            fraction_bar(float((one.spent + one.reserved) / one.amount) if one.amount else 1.0, 12),
            one.renews_at.astimezone().isoformat(" ", "minutes") if one.renews_at else "never",
        )
        for one in found
    ]  # fmt: skip
    results().print(table(columns, rows))


def _amounts(budget: Budget) -> tuple[str, ...]:
    amounts = (budget.amount, budget.spent, budget.reserved, budget.left)
    return tuple(f"{amount:,.4f}" for amount in amounts)
