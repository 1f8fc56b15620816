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
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_SAY_EVERY_S = 5.0  # where there is no terminal to draw a bar on


def results() -> Console:
    """For tables and bars: what the command is about."""
    return Console(file=sys.stdout, highlight=False)


def messages() -> Console:
    """For progress and remarks; scripts read stdout only."""
    return Console(file=sys.stderr, highlight=False)


def write_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def say(line: str) -> None:
    messages().print(escape(line), soft_wrap=True)


class _RateColumn(ProgressColumn):
    """How many a second, over the whole run so far."""

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time or task.elapsed or 0.0
        rate = task.completed / elapsed if elapsed > 0 and task.completed else 0.0
        return Text(f"{rate:,.0f} {task.fields.get('unit', '')}/s" if rate else "", style="cyan")


class Bar:
    """One progress bar, or a line now and then where there is no terminal to draw it on."""

    def __init__(self, progress: Progress, title: str, total: float | None, unit: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total, unit=unit, note="")
        self._said = time.monotonic()

    def advance(self, count: float) -> None:
        self._progress.advance(self._task, count)
        self._say()

    def to(self, completed: float, total: float | None = None, note: str | None = None) -> None:
        """Set what is done, and what there is to do once it is known."""
        fields = {} if note is None else {"note": note}
        self._progress.update(self._task, completed=completed, total=total, **fields)
        self._say()

    def finish(self) -> None:
        """What was done is all there was."""
        task = self._progress.tasks[0]
        self._progress.update(self._task, total=task.completed)
        if not self._progress.console.is_terminal:
            say(self._line())

    def _say(self) -> None:
        if self._progress.console.is_terminal or time.monotonic() - self._said < _SAY_EVERY_S:
            return
        self._said = time.monotonic()
        say(self._line())

    def _line(self) -> str:
        task = self._progress.tasks[0]
        unit, elapsed = task.fields["unit"], task.elapsed or 0.0
        of = "" if task.total in (None, task.completed) else f" of {task.total:,.0f}"
        rate = (
            f", {task.completed / elapsed:,.0f} {unit}/s" if elapsed > 0 and task.completed else ""
        )
        return f"{task.description}: {task.completed:,.0f}{of} {unit}{rate}"


@contextmanager
def bar(title: str, total: float | None, unit: str) -> Iterator[Bar]:
    """Progress on stderr inside the block."""
    console = messages()
    progress = Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with progress:
        drawn = Bar(progress, title, total, unit)
        yield drawn
        drawn.finish()
