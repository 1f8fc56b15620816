"""Tables and bars for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

_BLOCKS = " ▏▎▍▌▋▊▉█"
_BAR = 24


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """A plain table; columns whose name starts with '#' hold numbers, right-aligned."""
    drawn = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for name in columns:
        drawn.add_column(name.lstrip("#"), justify="right" if name.startswith("#") else "left")
    for row in rows:
        drawn.add_row(*(shown(value) for value in row))
    return drawn


def shown(value: object) -> str:
    """A value in a cell: thousands grouped, nothing as a dash, markup inert."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return escape(str(value))


def percent(value: object) -> str:
    """A share as it is read: 64.2%."""
    return f"{value:.1%}" if isinstance(value, int | float) else shown(value)


def fraction_bar(share: float, width: int = _BAR) -> str:
    """`share` of `width` cells in eighths of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_BLOCKS[rest] if rest else "")


def bars(
    title: str,
    counts: Mapping[str, int | float | None],
    *,
    of: float | None = None,
    form: Callable[[object], str] = shown,
) -> Table:
    """One bar per entry, in shares of `of` (its default: the largest entry)."""
    values = {name: value or 0 for name, value in counts.items()}
    whole = of if of is not None else max(values.values(), default=0)
    drawn = Table.grid(padding=(0, 1))
    drawn.title, drawn.title_justify = f"[bold]{escape(title)}", "left"
    drawn.title_style = ""
    drawn.add_column(min_width=14)
    drawn.add_column(justify="right", min_width=6)
    drawn.add_column(min_width=_BAR)
    drawn.add_column(justify="right", min_width=4)
    for name, value in values.items():
        share = value / whole if whole else 0.0
        of_all = f"[dim]{share:.0%}" if of is not None else ""
        drawn.add_row(escape(name), form(counts[name]), f"[cyan]{fraction_bar(share)}", of_all)
    return drawn
