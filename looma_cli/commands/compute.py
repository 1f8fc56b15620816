"""`looma compute`: portraits of weeks, months and quarters."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from ai_services.portrait.computing.computation import Computed
    from ai_services.portrait.computing.request import Requested
    from shared.config import Config


def compute(
    period_type: Annotated[
        Literal["all", "week", "month", "quarter"], typer.Option("--type", help="Of the periods.")
    ] = "all",
    period: Annotated[
        str | None, typer.Option(help="One period: 2024-W49, 2024-11 or 2024-Q4.")
    ] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day.")
    ] = None,
    shards: Annotated[
        int, typer.Option(min=1, max=256, help="Processes that compute; on RAY_ADDRESS, if set.")
    ] = 1,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Analyse what waits, then compute portraits: of everything, a period or a range of days."""
    from ai_services.portrait.computing.request import requested
    from ai_services.portrait.schemas import ComputeOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    wanted = requested(period_type, period, first and first.date(), last and last.date())
    computed = run(lambda config: _compute(config, wanted, org, shards))
    if as_json:
        write_json(ComputeOut.of(computed).model_dump(mode="json"))
        return
    rows = [
        (c.period_type, c.periods, c.first, c.last, c.snapshots, c.changed, c.removed, c.seconds)
        for c in computed
    ]  # fmt: skip
    columns = (
        "type",
        "#periods",
        "first",
        "last",
        "#portraits",
        "#changed",
        "#removed",
        "#seconds",
    )
    results().print(table(columns, rows))


async def _compute(
    config: Config, wanted: Requested, org: str | None, shards: int
) -> list[Computed]:
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from looma_cli.work.analyse import analyse
    from looma_cli.work.compute import compute_all, compute_sharded

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        await analyse(config, data.relational, organisation.org_id)
        if shards > 1:
            return await compute_sharded(
                data.relational, config, organisation.org_id, wanted, shards
            )
        return await compute_all(data.relational, organisation.org_id, wanted)
