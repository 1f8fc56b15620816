"""What `looma up` shows while things start: a live table, or lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from looma_cli.terminal.console import messages, say

_DONE = ("ready", "found running")
_MARKS = {"waiting to restart": "[red]✗", "stopped": "[dim]■"}


class StartView:
    """Between entering and leaving it shows each step; afterwards it only keeps quiet.

    `say` is how lines for people are written.
    """

    def __init__(self, say: Callable[[str], None] = say) -> None:
        self.say = say
        self._console = messages()
        self._began = time.monotonic()
        self._parts: dict[str, tuple[str, float]] = {}
        self._live = Live(console=self._console, refresh_per_second=8, get_renderable=self._table)
        self._open = False

    def __enter__(self) -> Self:
        self._open = True
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the last picture and say no more."""
        self._open = False
        if self._live.is_started:
            self._live.stop()

    def step(self, who: str, what: str) -> None:
        if not self._open or self._parts.get(who, ("",))[0] == what:
            return
        elapsed = time.monotonic() - self._began
        self._parts[who] = (what, elapsed)
        if not self._console.is_terminal and self._is_news(what):
            self.say(f"{elapsed:5.1f} s  {who}: {what}")

    def _is_news(self, what: str) -> bool:
        return what.startswith(_DONE) or what in _MARKS

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for who, (what, elapsed) in self._parts.items():
            done = what.startswith(_DONE)
            mark = "[green]✓" if done else _MARKS.get(what) or Spinner("dots")
            table.add_row(mark, who, f"[dim]{what}", f"[dim]{elapsed:.1f} s" if done else "")
        return table
