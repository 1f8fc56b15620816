"""`looma rebuild` fills a projection anew; `looma dead-letters` shows and replays failed events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from looma_cli import exit_codes
from looma_cli.options import AsJson, Org
from shared.services import SERVICES

if TYPE_CHECKING:
    from shared.config import Config
    from shared.data_access.access import UnifiedDataAccess
    from shared.data_access.outbox.relay import DeadLetter, OutboxRelay

dead_letters = typer.Typer(
    invoke_without_command=True, help="Events that no projection would take: list, replay."
)
_OWNERS = {one.name: service for service in SERVICES for one in service.projections}
_REBUILT = [one.name for service in SERVICES for one in service.projections if one.rebuilt]
_STORES = {one.name: one.store for service in SERVICES for one in service.projections}


def _known(name: str) -> str:
    if name not in _REBUILT:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(_REBUILT)}")
    return name


def rebuild(
    projection: Annotated[str, typer.Argument(parser=_known, metavar="|".join(_REBUILT))],
    org: Org = None,
) -> None:
    """Drop a projection of one organisation and fill it again from PostgreSQL."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    written = run(lambda config: _rebuild(config, projection, org))
    say(f"{projection} holds {written:,} entries again.")


async def _rebuild(config: Config, projection: str, org: str | None) -> int:
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from looma_cli.terminal.console import bar

    async with opened(config, {"relational", _STORES[projection]}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        with bar(f"Rebuilding {projection}", None, "entries") as progress:
            return await relay(data, projection).rebuild(
                projection, organisation.org_id, progress.to
            )


def relay(data: UnifiedDataAccess, projection: str) -> OutboxRelay:
    """A relay for the one projection, over the ports that it needs."""
    from importlib import import_module

    from shared.data_access.outbox.relay import OutboxRelay

    service = import_module(f"{_OWNERS[projection].module}.projections")
    return OutboxRelay(data.relational, [service.PROJECTIONS[projection](data)])


@dead_letters.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_dead()


@dead_letters.command("list")
def list_dead(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, oldest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show dead letters of all organisations. Exits 4 if there are any."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    found = run(lambda config: _dead(config, limit))
    if as_json:
        write_json([_document(letter) for letter in found])
    elif not found:
        say("There are none.")
    else:
        rows = [
            (str(d.id), d.projection, d.topic, d.key, d.attempts,
             d.died_at.isoformat(timespec="seconds"), d.error[:200])
            for d in found
        ]  # fmt: skip
        columns = ("#id", "projection", "topic", "key", "#attempts", "died", "error")
        results().print(table(columns, rows))
        say("Once the cause is gone: looma dead-letters replay ID… or --all")
    raise typer.Exit(exit_codes.PARTLY if found else exit_codes.OK)


@dead_letters.command()
def replay(
    ids: Annotated[
        list[int] | None, typer.Argument(help="As looma dead-letters shows them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
) -> None:
    """Put dead letters into the queue again."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    if bool(ids) == every:
        raise typer.BadParameter("name the ids, or --all")
    replayed = run(lambda config: _replay(config, None if every else ids or []))
    say(f"{replayed:,} are queued again.")


async def _dead(config: Config, limit: int) -> list[DeadLetter]:
    from looma_cli.stores.open_stores import opened
    from shared.data_access.outbox.relay import OutboxRelay

    async with opened(config, {"relational"}) as data:
        return await OutboxRelay(data.relational, []).dead_letters(limit=limit)


async def _replay(config: Config, ids: list[int] | None) -> int:
    from looma_cli.stores.open_stores import opened
    from shared.data_access.outbox.relay import OutboxRelay

    async with opened(config, {"relational"}) as data:
        outbox = OutboxRelay(data.relational, [])
        if ids is not None:
            return await outbox.replay(ids)
        replayed = after = 0
        while page := await outbox.dead_letters(after=after):
            after = page[-1].id
            replayed += await outbox.replay([letter.id for letter in page])
        return replayed


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "org_id": str(letter.org_id),
        "projection": letter.projection,
        "topic": letter.topic,
        "key": letter.key,
        "payload": letter.payload,
        "attempts": letter.attempts,
        "error": letter.error,
        "created_at": letter.created_at.isoformat(),
        "died_at": letter.died_at.isoformat(),
    }
