"""`looma sync`: reads connected systems now, or the calls of some days of theirs; compares."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from looma_cli import exit_codes
from looma_cli.options import AsJson, Org, lists

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from ai_services.enrichment.sources.verify import Compared
    from shared.config import Config
    from shared.data_access.ports import Relational
    from shared.jobs.store.jobs import Job

_LOOK_S: Final = 0.5
_DAY: Final = ["%Y-%m-%d"]
SourceName = Annotated[
    str | None, typer.Option("--source", help="One of the file that SOURCES names.")
]
First = Annotated[datetime | None, typer.Option("--from", formats=_DAY, help="First day.")]
Last = Annotated[datetime | None, typer.Option("--to", formats=_DAY, help="Last day.")]
sync = typer.Typer(
    invoke_without_command=True,
    help="Bring in what connected systems have: what is new, or the calls of some days.",
)


@sync.callback()
def _sync(
    context: typer.Context,
    first: First = None,
    last: Last = None,
    source: SourceName = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Show how far it is, and wait for its end.")
    ] = True,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Without more: what is new in every source, and the files of SYNC_FOLDER.

    The platform does it, by jobs: Ctrl-C ends the waiting only. Exits 1 if one doesn't succeed.
    """
    if not lists(context):
        return
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    args: dict[str, Any] = {"source": source}
    args |= {"from": first and f"{first:%Y-%m-%d}", "to": last and f"{last:%Y-%m-%d}"}
    args = {name: value for name, value in args.items() if value is not None}
    ended = run(lambda config: _run(config, org, args, wait=wait))
    if as_json:
        write_json([_document(job) for job in ended])
    elif wait:
        columns = ("source", "#rows", "#inserted", "#updated", "#rejected", "#deleted", "state")
        results().print(table(columns, [_row(job) for job in ended]))
    if wait and any(_failed(job) for job in ended):
        raise typer.Exit(exit_codes.FAILED)


@sync.command()
def verify(
    first: First = None,
    last: Last = None,
    source: SourceName = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Bring in, correct and delete what differs.")
    ] = False,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Compare what sources have with what came in, by table and day; yesterday unless days are given.

    Reads the sources itself: SOURCES and SOURCE_SECRET_… have to be set here. Exits 4 if anything
    differs and isn't repaired.
    """
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table
    from looma_cli.work.verify_sources import verify_sources

    days = (first and first.date(), last and last.date())
    compared = run(lambda config: verify_sources(config, org, source, days, repair=repair))
    if as_json:
        write_json([one.to_json() for one in compared])
    else:
        columns = ("source", "table", "day", "#there", "#here", "#missing", "#changed", "#extra")
        results().print(table(columns, [_counts(one) for one in compared]))
        for one in compared:
            for line in one.examples():
                say(line)
    if not all(one.is_settled for one in compared):
        raise typer.Exit(exit_codes.PARTLY)


def _counts(one: Compared) -> tuple[Any, ...]:
    return (
        one.source, one.shard, one.day, one.theirs, one.ours,
        one.missing.count, one.changed.count, one.extra.count,
    )  # fmt: skip


async def _run(
    config: Config, org: str | None, args: Mapping[str, Any], *, wait: bool
) -> list[Job]:
    from looma_cli.stores.organisation import opened_for
    from looma_cli.terminal.console import say
    from shared.embedded.stores import find
    from shared.errors import LoomaError, UpstreamUnavailable
    from shared.jobs.enqueue import enqueue

    if wait and config.database_url is None and find(config.home) is None:
        raise UpstreamUnavailable(
            f"Nothing runs on {config.home}, so that nobody would do it. Start the platform with "
            "`looma up`."
        )
    async with opened_for(config, org) as (relational, org_id):
        async with relational.tenant(org_id) as tx:
            asked = await enqueue(tx, "sync_call_records", args, org_id=org_id)
        if not wait:
            say(f"Job {asked.job_id} is queued. Follow it: looma jobs --watch")
            return []
        first = await _follow(relational, org_id, asked.job_id, "Looking")
        if first.result is None:
            raise LoomaError(f"Job {first.job_id} is {first.state}: {first.error}")
        reading: Mapping[str, int] = first.result["jobs"]
        if not reading:
            say(
                "No source is read for this organisation: docs/sources.md tells how to connect one."
            )
        following = (_follow(relational, org_id, job_id, name) for name, job_id in reading.items())
        return [await one for one in following]


async def _follow(relational: Relational, org_id: UUID, job_id: int, title: str) -> Job:
    from ai_services.monitor.jobs.service import get_job
    from looma_cli.terminal.console import bar

    with bar(title, None, "rows") as progress:
        while True:
            job = await get_job(relational, org_id, job_id)
            progress.to(job.progress.done, job.progress.total)
            if job.finished_at is not None:
                break
            await asyncio.sleep(_LOOK_S)
        if job.state != "succeeded":
            progress.give_up()
    return job


def _failed(job: Job) -> bool:
    return job.state != "succeeded" or bool((job.result or {}).get("failed"))


def _document(job: Job) -> dict[str, Any]:
    return {"job_id": job.job_id, "state": job.state, "error": job.error, **(job.result or {})}


def _row(job: Job) -> tuple[Any, ...]:
    told = job.result or {}
    state = job.error or "; ".join(told.get("failed", {}).values()) or job.state
    names = ("rows", "inserted", "updated", "rejected", "deleted")
    return (job.args.get("source"), *(told.get(name) for name in names), state)
