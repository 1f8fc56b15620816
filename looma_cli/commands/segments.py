"""`looma segments`: who fulfils a condition over the figures of portraits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from looma_cli.options import AsJson, Org, PeriodTypeOption, lists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ai_services.portrait.segments.definition import Definition, Segment
    from ai_services.portrait.segments.service import Tested
    from shared.config import Config
    from shared.cursor import Page
    from shared.data_access.ports import Row

segments = typer.Typer(
    invoke_without_command=True,
    help="Who fulfils a condition over figures: list, show, test, members. Without more: list.",
)
Name = Annotated[str, typer.Argument(help="As looma segments shows it.")]


@segments.callback()
def _default(context: typer.Context, org: Org = None, as_json: AsJson = False) -> None:
    if lists(context):
        list_segments(org, as_json)


@segments.command("list")
def list_segments(org: Org = None, as_json: AsJson = False) -> None:
    """List all segments with how many are in each."""
    from ai_services.portrait.segments.schemas import SegmentItem
    from looma_cli.runner import run
    from looma_cli.terminal.console import say, write_json

    found = run(lambda config: _all(config, org))
    if as_json:
        write_json([SegmentItem.of(one).model_dump(mode="json") for one in found])
    elif found:
        _show_all(found)
    else:
        say("There are none yet: POST /api/v1/segments makes one.")


@segments.command()
def show(name: Name, org: Org = None, as_json: AsJson = False) -> None:
    """Show one segment: its condition, and how many are in it."""
    from ai_services.portrait.segments.schemas import SegmentItem
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    shown = SegmentItem.of(run(lambda config: _one(config, org, name))).model_dump(mode="json")
    if as_json:
        write_json(shown)
    else:
        results().print(table(("what", "value"), list(shown.items())))


@segments.command("test")
def try_out(
    expression: Annotated[
        str, typer.Argument(help="A condition: 'connect_rate < 0.3 and total_calls >= 5'.")
    ],
    dimension: Annotated[str, typer.Option(help="Whose portraits: user, customer, …")] = "user",
    period_type: PeriodTypeOption = "week",
    period: Annotated[
        str | None, typer.Option(help="2024-W49, 2024-11 or 2024-Q4; else the newest with calls.")
    ] = None,
    ended: Annotated[
        bool, typer.Option("--ended", help="The last period that has ended, not the newest.")
    ] = False,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Ask a condition: how many fulfil it, and who for example; or where it is wrong."""
    from ai_services.portrait.period import parse_any
    from ai_services.portrait.segments.definition import Definition
    from ai_services.portrait.segments.schemas import TestOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import write_json
    from shared.expressions.errors import ExpressionInvalid

    if period is not None:
        period_type = parse_any(period).type
    which: Literal["newest", "ended"] = "ended" if ended else "newest"
    definition = Definition(dimension, period_type, which, expression, "")
    tested = run(lambda config: _tested(config, org, definition, period))
    if tested.findings:
        raise ExpressionInvalid(tested.findings)
    if as_json:
        write_json(TestOut.of(tested).model_dump(mode="json"))
    else:
        _show_tested(tested, dimension)


@segments.command()
def members(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """List who is in a segment, and since when."""
    from ai_services.portrait.segments.schemas import MembersOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    segment, page = run(lambda config: _members(config, org, name, limit))
    if as_json:
        write_json(MembersOut.of(segment, page).model_dump(mode="json"))
        return
    rows = [(row["subject"], f"{row['since']:%Y-%m-%d %H:%M}") for row in page.items]
    results().print(table((segment.definition.dimension, "since (UTC)"), rows))
    if page.next_cursor is not None:
        say(f"There are more: --limit, or GET /api/v1/segments/{name}/export.")


async def _all(config: Config, org: str | None) -> list[Segment]:
    from ai_services.portrait.segments import service
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return await service.list_segments(relational, org_id)


async def _one(config: Config, org: str | None, name: str) -> Segment:
    from ai_services.portrait.segments import service
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return await service.get_segment(relational, org_id, name)


async def _tested(
    config: Config, org: str | None, definition: Definition, period: str | None
) -> Tested:
    from ai_services.portrait.segments import service
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return await service.test(relational, org_id, definition, period, 10)


async def _members(
    config: Config, org: str | None, name: str, limit: int
) -> tuple[Segment, Page[Row]]:
    from ai_services.portrait.segments import service
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return await service.members(relational, org_id, name, limit=limit, cursor=None)


def _show_all(found: Sequence[Segment]) -> None:
    from looma_cli.terminal.console import results
    from looma_cli.terminal.render import table

    rows = [
        (
            one.name,
            one.definition.dimension,
            one.definition.period_type,
            one.period_key,
            one.size,
            one.problem or one.definition.expression,
        )
        for one in found
    ]
    columns = ("name", "dimension", "periods", "period", "#size", "expression")
    results().print(table(columns, rows))


def _show_tested(tested: Tested, dimension: str) -> None:
    from ai_services.portrait.segments.schemas import TestOut
    from looma_cli.terminal.console import results, say
    from looma_cli.terminal.render import table

    found = TestOut.of(tested)
    say(
        f"{found.size} of {found.portraits} in {found.period_key}; of {found.unknown} it isn't known. "
        f"Asked in {found.seconds} s."
    )
    if found.examples:
        names = list(found.examples[0].values)
        rows = [(one.subject, *(one.values[name] for name in names)) for one in found.examples]
        results().print(table((dimension, *names), rows))
