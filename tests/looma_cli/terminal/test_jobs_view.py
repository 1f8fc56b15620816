"""Jobs as people see them: figures, bars, and that data can't draw."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest
from rich.console import Console

from looma_cli.terminal.jobs_view import duration, jobs_table, progress_text, state_of
from shared.jobs.progress import Progress
from shared.jobs.store.jobs import Job

NOW: Final = datetime(2026, 11, 30, 14, 3, 5, tzinfo=UTC)
JOB: Final = Job(
    job_id=42, org_id=None, name="nightly", args={}, priority=0, state="running", run_at=NOW,
    created_at=NOW, started_at=NOW, finished_at=None, stop=None, worker=None, failures=0, lost=0,
    error=None, result=None, schedule_id=None, scheduled_for=None,
    progress=Progress(120, 400, 2.5, 112.0),
)  # fmt: skip


def drawn(job: Job, *, bars: bool) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(jobs_table([job], bars=bars))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7_500, "2 h 05 min")],
)
def test_a_duration_has_two_units_at_most(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("done", "total", "told"),
    [(0, None, ""), (1200, None, "1,200"), (120, 400, "120/400 30%"), (0, 0, "0/0 100%")],
)
def test_progress_tells_what_is_known(done: int, total: int | None, told: str) -> None:
    assert progress_text(Progress(done, total, None, None)) == told


def test_a_row_has_all_figures_and_a_bar_only_where_one_is_wanted() -> None:
    page = drawn(JOB, bars=True)
    assert "███▋" in page
    for told in ("42", "nightly", "running", "120/400 30%", "2.5/s", "1 min 52 s"):
        assert told in page
    assert "█" not in drawn(JOB, bars=False)


def test_a_running_job_tells_what_it_was_asked_to_be() -> None:
    assert state_of(replace(JOB, stop="paused")) == "running, to be paused"


def test_names_and_errors_of_others_are_no_markup_and_one_line() -> None:
    job = replace(JOB, name="[red]x", state="dead", error="[bold]no[/]\nsecond line")
    page = drawn(job, bars=True)
    assert "[red]x" in page
    assert "[bold]no[/]" in page
    assert "second line" not in page
