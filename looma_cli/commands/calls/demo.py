"""`looma demo`: generated calls as a file, and into an organisation if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from looma_cli.commands.calls.import_file import import_file
from looma_cli.options import Org


def demo(
    calls: Annotated[int, typer.Option(min=1, help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same calls.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Else demo-calls-CALLS-SEED.jsonl here.")] = None,
    bad_rows: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rows to make wrong, as in real files.")
    ] = 0.0,
    bring_in: Annotated[bool, typer.Option("--import", help="Import the file, too.")] = False,
    org: Org = None,
) -> None:
    """Generate a year of calls as JSON Lines."""
    from looma_cli.work.demo_calls import write_calls

    path = out or Path(f"demo-calls-{calls}-{seed}.jsonl")
    write_calls(path, calls, seed, bad_rows)
    if bring_in:
        import_file(path, org=org)
    else:
        print(path)
