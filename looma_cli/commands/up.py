"""`looma up`: everything on this machine, under one supervisor."""

from __future__ import annotations

from typing import Annotated

import typer

DEMO_CALLS = 20_000
Replicas = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=N[,NAME=N]",
        help="How often a service runs, e.g. enrichment=3,portrait=2; once unless named. "
        "For more of the gateway set GATEWAY_WORKERS.",
    ),
]


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Add an organisation 'demo' with generated calls.")
    ] = False,
    calls: Annotated[int, typer.Option(min=1, help="How many calls --demo makes.")] = DEMO_CALLS,
    replicas: Replicas = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Go to the background once all is ready.")
    ] = False,
) -> None:
    """Start stores, services and gateway, and keep them running until Ctrl-C."""
    from looma_cli.runner import run
    from looma_cli.up.demo import fill_with
    from looma_cli.up.detach import start_detached
    from looma_cli.up.replicas import parsed
    from looma_cli.up.start import start

    wanted, numbers = fill_with(calls) if demo else None, parsed(replicas or ())
    run(lambda config: (start_detached if detach else start)(config, wanted, numbers))


def serve(
    lock: Annotated[
        int | None, typer.Option(help="The home's lock, as an open file that was inherited.")
    ] = None,
    replicas: Replicas = None,
) -> None:
    """What `looma up --detach` leaves running."""
    from looma_cli.runner import run
    from looma_cli.up.detach import serve_detached
    from looma_cli.up.replicas import parsed

    numbers = parsed(replicas or ())
    run(lambda config: serve_detached(config, numbers, lock))
