"""Jobs for people: a table with progress bars, drawn anew while they run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from looma_cli.terminal.console import results
from looma_cli.terminal.render import fraction_bar, shown, table
from shared.jobs.progress import Progress
from shared.jobs.store.jobs import Job
from shared.jobs.store.state import State

_BAR: Final = 12
_LONGEST_ERROR: Final = 80
_COLUMNS: Final = ("#id", "name", "state", "progress", "#rate", "#ETA", "started", "error")
_COLOURS: Final[dict[State, str]] = {
    "running": "cyan",
    "paused": "yellow",
    "succeeded": "green",
    "dead": "red",
    "cancelled": "dim",
}


def jobs_table(jobs: Sequence[Job], *, bars: bool) -> Table:
    """Newest first, as they come. Without `bars` progress is told in numbers alone."""
    drawn = table(_COLUMNS, [])
    for job in jobs:
        rate, eta = job.progress.rate, job.progress.eta_s
        error = (job.error or "").partition("\n")[0]
        drawn.add_row(
            str(job.job_id),
            escape(job.name),
            _coloured(job),
            _drawn(job.progress, bars=bars),
            "–" if rate is None else f"{rate:,.1f}/s",
            "–" if eta is None else duration(eta),
            moment(job.started_at),
            escape(error[:_LONGEST_ERROR]),
        )
    return drawn


def state_of(job: Job) -> str:
    """With what a running job was asked to be and isn't yet."""
    return job.state if job.stop is None else f"{job.state}, to be {job.stop}"


def progress_text(progress: Progress) -> str:
    """'120/400 30%'; nothing where nothing is known."""
    if progress.total is None:
        return f"{progress.done:,}" if progress.done else ""
    share = progress.done / progress.total if progress.total else 1.0
    return f"{progress.done:,}/{progress.total:,} {share:.0%}"


def duration(seconds: float) -> str:
    """'5 s', '3 min 20 s', '2 h 05 min'."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def moment(at: datetime | None) -> str:
    """In this machine's time zone, without it."""
    return "–" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


class JobsWatch:
    """The table, drawn anew with each `show`; where there is no terminal, a line for each change."""

    def __init__(self) -> None:
        self._console = results()
        self._live = Live(console=self._console, auto_refresh=False)
        self._said: dict[int, str] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live.is_started:
            self._live.stop()

    def show(self, jobs: Sequence[Job]) -> None:
        if self._live.is_started:
            self._live.update(jobs_table(jobs, bars=True), refresh=True)
            return
        for job in reversed(jobs):
            state = state_of(job)
            if self._said.get(job.job_id) != state:
                self._said[job.job_id] = state
                told = f"{job.job_id} {job.name}: {state} {progress_text(job.progress)}".rstrip()
                self._console.print(escape(told), soft_wrap=True)


def _coloured(job: Job) -> str:
    colour = _COLOURS.get(job.state)
    state = escape(state_of(job))
    return state if colour is None else f"[{colour}]{state}[/]"


def _drawn(progress: Progress, *, bars: bool) -> str:
    text = progress_text(progress)
    if not bars or progress.total is None:
        return text or shown(None)
    share = progress.done / progress.total if progress.total else 1.0
    return f"[cyan]{fraction_bar(share, _BAR):<{_BAR}}[/] {text}"
