"""`looma schedules`: when scheduled jobs run, and choosing other times for an organisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from looma_cli.options import AsJson, Org, lists

if TYPE_CHECKING:
    from datetime import datetime

    from ai_services.monitor.jobs.service import Scheduled
    from shared.config import Config

schedules = typer.Typer(
    invoke_without_command=True,
    help="When scheduled jobs run: list, set, pause, resume, reset. Without more: list.",
)
Name = Annotated[str, typer.Argument(help="As looma schedules shows it.")]


@contextmanager
def known(name: str) -> Iterator[None]:
    """What is not found inside is a schedule that a person has named."""
    from shared.errors import NotFound

    try:
        yield
    except NotFound as error:
        raise NotFound(
            f"There is no schedule {name!r}. `looma schedules` lists those there are; the service "
            "of a new one has to run once."
        ) from error


@schedules.callback()
def _list(context: typer.Context, org: Org = None, as_json: AsJson = False) -> None:
    if not lists(context):
        return
    from ai_services.monitor.jobs.schemas import ScheduleOut
    from looma_cli.runner import run
    from looma_cli.terminal.console import say, write_json

    found = run(lambda config: _all(config, org))
    if as_json:
        write_json([ScheduleOut.of(one).model_dump(mode="json") for one in found])
    elif found:
        _show(found)
    else:
        say("There are none yet: services tell their schedules when they start.")


@schedules.command("set")
def choose(
    name: Name,
    cron: Annotated[
        str,
        typer.Option(
            help="Minute, hour, day of month, month, weekday, in the organisation's time zone: "
            "'30 2 * * *'."
        ),
    ],
    org: Org = None,
) -> None:
    """Choose the time of a schedule."""
    _change(name, org, cron=cron)


@schedules.command()
def pause(name: Name, org: Org = None) -> None:
    """Let a schedule rest; what it misses isn't made up for."""
    _change(name, org, paused=True)


@schedules.command()
def resume(name: Name, org: Org = None) -> None:
    """Let a paused schedule run again, from its next time on."""
    _change(name, org, paused=False)


@schedules.command()
def reset(name: Name, org: Org = None) -> None:
    """Give up the time that was chosen: the declared one holds again within a minute."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    one = run(lambda config: _reset(config, org, name))
    if one.paused:
        say(
            f"{name} has {one.kind.cron} again, within a minute. It stays paused: "
            f"looma schedules resume {name}"
        )
    else:
        say(f"{name} runs at {one.kind.cron} again, within a minute.")


def _change(
    name: str, org: str | None, *, cron: str | None = None, paused: bool | None = None
) -> None:
    from looma_cli.runner import run

    _show([run(lambda config: _changed(config, org, name, cron, paused))])


async def _all(config: Config, org: str | None) -> list[Scheduled]:
    from ai_services.monitor.jobs.service import list_schedules
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return await list_schedules(relational, org_id)


async def _changed(
    config: Config, org: str | None, name: str, cron: str | None, paused: bool | None
) -> Scheduled:
    from ai_services.monitor.jobs.service import change_schedule
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        with known(name):
            return await change_schedule(relational, org_id, name, cron=cron, paused=paused)


async def _reset(config: Config, org: str | None, name: str) -> Scheduled:
    from ai_services.monitor.jobs.service import reset_schedule
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        with known(name):
            return await reset_schedule(relational, org_id, name)


def _show(found: Sequence[Scheduled]) -> None:
    from looma_cli.terminal.console import results
    from looma_cli.terminal.render import table

    rows = [
        (
            one.schedule.name,
            f"{one.schedule.cron} (chosen)" if one.schedule.own else one.schedule.cron,
            one.schedule.zone,
            _local(one.schedule.next_at, one.schedule.zone),
            _local(one.schedule.last_at, one.schedule.zone),
            one.paused,
            one.kind.summary,
        )
        for one in found
    ]
    columns = ("name", "cron", "time zone", "next run", "last", "paused", "summary")
    results().print(table(columns, rows))


def _local(at: datetime | None, zone: str) -> str | None:
    from zoneinfo import ZoneInfo

    return None if at is None else f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
