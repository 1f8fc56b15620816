"""`looma jobs`: long and scheduled work, how far it is, and what is to become of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from looma_cli import exit_codes
from looma_cli.options import AsJson, Org, lists
from shared.jobs.store.state import State

if TYPE_CHECKING:
    from shared.config import Config
    from shared.jobs.store.jobs import Job

_LOOK_S: Final = 0.5
_MOST: Final = 200
_NONE: Final = "There are none. Run one of looma schedules: looma jobs run NAME"
Fate = Literal["cancel", "pause", "resume", "retry"]
JobId = Annotated[
    int, typer.Argument(min=1, max=2**63 - 1, metavar="ID", help="As looma jobs shows it.")
]
jobs = typer.Typer(
    invoke_without_command=True,
    help="Long and scheduled work: how far it is; run, cancel, pause it. Without more: list.",
)


@jobs.callback()
def _list(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Jobs in this state only.")] = None,
    name: Annotated[str | None, typer.Option(help="Jobs of this name only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="How many, the newest first.")] = 20,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow them until all have ended, or Ctrl-C.")
    ] = False,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    if not lists(context):
        return
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.jobs_view import jobs_table
    from shared.jobs.answer import JobOut

    if watch and as_json:
        raise typer.BadParameter("--watch or --json, not both")
    if watch:
        run(lambda config: _watch(config, org, name, state, limit))
        return
    found = run(lambda config: _newest(config, org, name, state, limit))
    if as_json:
        write_json([JobOut.of(job).model_dump(mode="json") for job in found])
    elif found:
        console = results()
        console.print(jobs_table(found, bars=console.is_terminal))
    else:
        say(_NONE)


@jobs.command()
def show(job_id: JobId, org: Org = None, as_json: AsJson = False) -> None:
    """Show all of one job: its progress, arguments, result, last error."""
    from looma_cli.runner import run

    _show(run(lambda config: _get(config, org, job_id)), as_json=as_json)


@jobs.command("run")
def run_job(
    name: Annotated[str, typer.Argument(help="Of a schedule, as looma schedules lists them.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for its end. Exits 1 unless it succeeds.")
    ] = False,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Run a scheduled job now, beside its times."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    job = run(lambda config: _run(config, org, name, wait=wait))
    if as_json:
        _show(job, as_json=True)
    elif job.finished_at is None:
        say(f"Job {job.job_id} is {job.state}. Follow it: looma jobs --watch")
    else:
        say(f"Job {job.job_id} {_end_of(job)}")
    if wait and job.state != "succeeded":
        raise typer.Exit(exit_codes.FAILED)


@jobs.command()
def cancel(job_id: JobId, org: Org = None) -> None:
    """End a job; one that runs stops within seconds."""
    _change("cancel", job_id, org)


@jobs.command()
def retry(job_id: JobId, org: Org = None) -> None:
    """Queue a dead or cancelled job again; it goes on at its checkpoint."""
    _change("retry", job_id, org)


@jobs.command()
def pause(job_id: JobId, org: Org = None) -> None:
    """Keep a job from running; one that runs stops at its next effect."""
    _change("pause", job_id, org)


@jobs.command()
def resume(job_id: JobId, org: Org = None) -> None:
    """Let a paused job run, from its checkpoint on."""
    _change("resume", job_id, org)


def _change(fate: Fate, job_id: int, org: str | None) -> None:
    from looma_cli.runner import run
    from looma_cli.terminal.console import say
    from looma_cli.terminal.jobs_view import state_of

    job = run(lambda config: _changed(config, org, fate, job_id))
    say(f"Job {job.job_id} ({job.name}) is {state_of(job)}.")


async def _changed(config: Config, org: str | None, fate: Fate, job_id: int) -> Job:
    from ai_services.monitor.jobs import service
    from looma_cli.stores.organisation import opened_for

    change = {
        "cancel": service.cancel_job,
        "pause": service.pause_job,
        "resume": service.resume_job,
        "retry": service.retry_job,
    }[fate]
    async with opened_for(config, org) as (relational, org_id):
        return await change(relational, org_id, job_id)


async def _newest(
    config: Config, org: str | None, name: str | None, state: State | None, limit: int
) -> list[Job]:
    from ai_services.monitor.jobs.service import list_jobs
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return list(
            (await list_jobs(relational, org_id, name, state, cursor=None, limit=limit)).items
        )


async def _watch(
    config: Config, org: str | None, name: str | None, state: State | None, limit: int
) -> None:
    from ai_services.monitor.jobs.service import list_jobs, some_jobs
    from looma_cli.stores.organisation import opened_for
    from looma_cli.terminal.console import say
    from looma_cli.terminal.jobs_view import JobsWatch

    seen: set[int] = set()  # what is watched stays in sight, whatever becomes of it
    async with opened_for(config, org) as (relational, org_id):
        with JobsWatch() as view:
            while True:
                page = await list_jobs(relational, org_id, name, state, cursor=None, limit=limit)
                there = {job.job_id for job in page.items}
                others = await some_jobs(relational, org_id, seen - there) if seen - there else []
                found = sorted([*page.items, *others], key=lambda job: job.job_id, reverse=True)
                if not found:
                    say(_NONE)
                view.show(found)
                if all(job.finished_at is not None for job in found):
                    return
                seen = {job.job_id for job in found[:_MOST]}
                await asyncio.sleep(_LOOK_S)


async def _get(config: Config, org: str | None, job_id: int) -> Job:
    from ai_services.monitor.jobs.service import get_job
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (relational, org_id):
        return await get_job(relational, org_id, job_id)


async def _run(config: Config, org: str | None, name: str, *, wait: bool) -> Job:
    from ai_services.monitor.jobs import service
    from looma_cli.commands.schedules import known
    from looma_cli.stores.organisation import opened_for
    from looma_cli.terminal.console import bar, say
    from shared.embedded.stores import find
    from shared.errors import UpstreamUnavailable

    if wait and config.database_url is None and find(config.home) is None:
        raise UpstreamUnavailable(
            f"Nothing runs on {config.home}, so that the job would wait, too. Start the platform "
            "with `looma up`, or leave --wait out."
        )
    async with opened_for(config, org) as (relational, org_id):
        with known(name):
            job_id = await service.run_job(relational, org_id, name)
        job = await service.get_job(relational, org_id, job_id)
        if not wait:
            return job
        say(f"Job {job_id} is {job.state}. Ctrl-C ends the waiting, not the job.")
        with bar(name, None, "done") as progress:
            while job.finished_at is None:
                progress.to(job.progress.done, job.progress.total)
                await asyncio.sleep(_LOOK_S)
                job = await service.get_job(relational, org_id, job_id)
            progress.to(job.progress.done, job.progress.total)
            if job.state != "succeeded":
                progress.give_up()
        return job


def _end_of(job: Job) -> str:
    if job.state == "succeeded":
        return "has succeeded."
    return f"is {job.state}: {job.error}" if job.error else f"is {job.state}."


def _show(job: Job, *, as_json: bool) -> None:
    import json

    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.jobs_view import duration, moment, progress_text, state_of
    from looma_cli.terminal.render import table
    from shared.jobs.answer import JobOut

    if as_json:
        write_json(JobOut.of(job).model_dump(mode="json"))
        return
    progress = job.progress
    rows = [
        ("id", str(job.job_id)),
        ("name", job.name),
        ("state", state_of(job)),
        ("progress", progress_text(progress) or None),
        ("rate", None if progress.rate is None else f"{progress.rate:,.1f}/s"),
        ("ETA", None if progress.eta_s is None else duration(progress.eta_s)),
        ("failures", job.failures),
        ("error", job.error),
        ("arguments", json.dumps(dict(job.args), ensure_ascii=False)),
        ("result", None if job.result is None else json.dumps(job.result, ensure_ascii=False)),
        ("priority", job.priority),
        ("scheduled for", moment(job.scheduled_for)),
        ("created", moment(job.created_at)),
        ("not before", moment(job.run_at)),
        ("started", moment(job.started_at)),
        ("finished", moment(job.finished_at)),
    ]
    results().print(table(("", ""), rows))
