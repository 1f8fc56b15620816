"""Where a command writes: results to stdout, what it says meanwhile to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_SAY_EVERY_S = 5.0  # where there is no terminal to draw a bar on


def results() -> Console:
    """For tables and bars: what the command is about. A pipe has no width to cut them to."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160)


def messages() -> Console:
    """For progress and remarks; scripts read stdout only."""
    return Console(file=sys.stderr, highlight=False)


def write_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def say(line: str) -> None:
    messages().print(escape(line), soft_wrap=True)


class _CountColumn(ProgressColumn):
    """How many so far, and how many a second over the whole run."""

    def render(self, task: Task) -> Text:
        return Text(_count(task), style="cyan")


def _count(task: Task) -> str:
    count, unit = task.fields["count"], task.fields["unit"]
    elapsed = task.finished_time or task.elapsed or 0.0
    rate = f"  {count / elapsed:,.0f}/s" if elapsed > 0.5 and count else ""
    return f"{count:,.0f} {unit}{rate}"


class Bar:
    """One progress bar, or a line now and then where there is no terminal to draw it on."""

    def __init__(self, progress: Progress, title: str, total: float | None, unit: str) -> None:
        self._progress = progress
        self._id = progress.add_task(title, total=total, unit=unit, count=0)
        self._said = time.monotonic()
        self.given_up = False

    @property
    def _task(self) -> Task:
        return self._progress.tasks[0]

    def advance(self, count: int) -> None:
        self.to(self._task.completed + count)

    def to(self, done: float, total: float | None = None, count: int | None = None) -> None:
        """`done` of `total`; `count` of the bar's unit where that is something else than `done`."""
        shown = int(done) if count is None else count
        if total is not None:
            self._progress.update(self._id, total=total)
        self._progress.update(self._id, completed=done, count=shown)
        if not self._progress.console.is_terminal and time.monotonic() - self._said > _SAY_EVERY_S:
            self._say()

    def give_up(self) -> None:
        """What was to be done isn't: the bar ends where it stands."""
        self.given_up = True

    def finish(self) -> None:
        """What was done is all there was."""
        self._progress.update(self._id, total=self._task.completed)
        if not self._progress.console.is_terminal:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        task = self._task
        share = f" {task.percentage:.0f}%" if task.total and not task.finished else ""
        say(f"{task.description}:{share} {_count(task)}")


@contextmanager
def bar(title: str, total: float | None, unit: str) -> Iterator[Bar]:
    """Progress on stderr inside the block."""
    console = messages()
    progress = Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        _CountColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with progress:
        drawn = Bar(progress, title, total, unit)
        yield drawn
        if not drawn.given_up:
            drawn.finish()
