"""`looma imports`: what was brought in, and taking it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from looma_cli.options import AsJson, Org, lists

if TYPE_CHECKING:
    from ai_services.enrichment.imports.taking_back import TakenBack
    from shared.config import Config
    from shared.data_access.ports import Row

imports = typer.Typer(
    invoke_without_command=True,
    help="What was imported, the newest first; take an import back. Without more: list.",
)


@imports.callback()
def _list(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, the newest first.")] = 20,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    if not lists(context):
        return
    from ai_services.enrichment.schemas import ImportOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import say, write_json

    found = run(lambda config: _newest(config, org, limit))
    if as_json:
        write_json([ImportOut(**row).model_dump(mode="json") for row in found])
    elif found:
        _show(found)
    else:
        say("There are none. Bring calls in: looma import FILE")


@imports.command("take-back")
def take_back(
    import_id: Annotated[UUID, typer.Argument(metavar="ID", help="As looma imports shows it.")],
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Delete the calls that an import brought in, but for those that were changed since.

    A call that was there before stays as the import left it. Run it again if it was interrupted.
    """
    from looma_cli.runner import run
    from looma_cli.terminal.console import say, write_json

    done = run(lambda config: _taken_back(config, org, import_id))
    if as_json:
        write_json(done.to_result())
        return
    say(f"{done.deleted:,} calls were deleted, with what was made of them.")
    if done.kept_changed:
        say(f"{done.kept_changed:,} others were changed since, or are gone: they were left alone.")
    if done.kept_updated:
        say(
            f"{done.kept_updated:,} were there before the import and stay as it left them: "
            "what they were isn't kept. Import the right file over them."
        )


async def _newest(config: Config, org: str | None, limit: int) -> Sequence[Row]:
    from ai_services.enrichment.service import imports as list_imports
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return (await list_imports(relational, org_id, cursor=None, limit=limit)).items


async def _taken_back(config: Config, org: str | None, import_id: UUID) -> TakenBack:
    from ai_services.enrichment.imports.taking_back import take_back as take
    from looma_cli.stores.organisation import opened_for
    from looma_cli.terminal.console import bar

    async with opened_for(config, org) as (relational, org_id):
        with bar("Taking it back", None, "calls") as progress:
            return await take(relational, org_id, import_id, progress.to)


def _show(found: Sequence[Row]) -> None:
    from looma_cli.terminal.console import results
    from looma_cli.terminal.jobs_view import moment
    from looma_cli.terminal.render import table

    rows = [
        (
            str(row["import_id"]),
            row["source"],
            moment(row["started_at"]),
            row["inserted"],
            row["updated"],
            row["rejected"],
            _state(row),
        )
        for row in found
    ]
    columns = ("id", "file", "began", "#new", "#updated", "#rejected", "state")
    results().print(table(columns, rows))


def _state(row: Row) -> str:
    if row["taken_back_at"] is not None:
        return "taken back"
    if row["finished_at"] is None:
        return "runs, or was broken off"
    return row["error"] or "done"
