"""`looma up`: everything on this machine, under one supervisor."""

from __future__ import annotations

from typing import Annotated

import typer

DEMO_CALLS = 20_000


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Add an organisation 'demo' with generated calls.")
    ] = False,
    calls: Annotated[int, typer.Option(min=1, help="How many calls --demo makes.")] = DEMO_CALLS,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Go to the background once all is ready.")
    ] = False,
) -> None:
    """Start stores, services and gateway, and keep them running until Ctrl-C."""
    from looma_cli.runner import run
    from looma_cli.up.demo import fill_with
    from looma_cli.up.detach import start_detached
    from looma_cli.up.start import start

    wanted = fill_with(calls) if demo else None
    run(lambda config: (start_detached if detach else start)(config, wanted))


def serve(
    lock: Annotated[
        int | None, typer.Option(help="The home's lock, as an open file that was inherited.")
    ] = None,
) -> None:
    """What `looma up --detach` leaves running."""
    from looma_cli.runner import run
    from looma_cli.up.detach import serve_detached

    run(lambda config: serve_detached(config, lock))
