"""`looma logs`: what the processes of this home have logged, in one place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from looma_cli import exit_codes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from looma_cli.logs.reading import Logs
    from looma_cli.logs.record import Record

_LAST = 200
Level = Literal["debug", "info", "warning", "error"]


def logs(
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Lines of this request: `request_id`.")
    ] = None,
    trace: Annotated[
        str | None, typer.Option(metavar="ID", help="Lines of this trace, or traceparent.")
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of this process; a service with its replicas."),
    ] = None,
    level: Annotated[Level | None, typer.Option(help="Of this level or a graver one.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="10m", help="Not older: 30s, 10m, 2h, 1d, or a time.")
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines", "-n", min=1, max=1_000_000, show_default=False,
            help=f"The last so many; {_LAST} unless --request, --trace or --since is given.",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:  # fmt: skip
    """Show what gateway, services and stores have logged, by time. Exits 1 if a request left none."""
    from contextlib import closing
    from datetime import UTC, datetime

    from looma_cli.logs.query import query
    from looma_cli.logs.reading import Logs, newest
    from shared.config import Config

    config = Config.from_env()
    wanted = query(request, trace, level, since, datetime.now(UTC))
    narrowed = wanted.identifiers or wanted.since is not None
    last = lines if lines is not None or narrowed else _LAST
    with closing(Logs(config.home / "logs", service or (), wanted)) as found:
        records = found.follow(last) if follow else newest(iter(found), last)
        shown = _print(records, as_json=as_json, at_once=follow)
    _tell_unknown(found, left_out=bool(wanted.identifiers) or level is not None)
    if wanted.identifiers and not shown:
        _tell_nothing(found, config.log_level)
        raise typer.Exit(exit_codes.FAILED)


def _print(records: Iterable[Record], *, as_json: bool, at_once: bool) -> int:
    from looma_cli.logs.show import as_json as written
    from looma_cli.logs.show import as_line

    shown, width, coloured = 0, 0, sys.stdout.isatty()
    for record in records:
        shown += 1
        width = max(width, len(record.process), len("enrichment"))
        line = written(record) if as_json else as_line(record, width, coloured=coloured)
        print(line, flush=at_once)
    return shown


def _tell_unknown(found: Logs, *, left_out: bool) -> None:
    from looma_cli.terminal.console import say

    counts = found.unknown
    if counts:
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        end = (
            "are shown only where they name what was asked for"
            if left_out
            else "are shown as they stand"
        )
        say(f"{sum(counts.values())} lines of no known form, or too long, {end}: {each}.")


def _tell_nothing(found: Logs, level: str) -> None:
    from looma_cli.terminal.console import say

    say(f"No line names it in the logs of {', '.join(found.processes)}.")
    if level != "debug":
        say("Requests that succeed within a second leave lines at LOG_LEVEL=debug only.")
