"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Org = Annotated[
    str | None,
    typer.Option("--org", help="Short name of the organisation; not needed if there is one only."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
PeriodTypeName = Literal["week", "month", "quarter"]
PeriodTypeOption = Annotated[PeriodTypeName, typer.Option("--period-type", help="Of the periods.")]
RoleName = Literal["admin", "analyst", "agent", "service"]


def lists(context: typer.Context) -> bool:
    """Whether a group that lists without more was called so.

    Options of the list are refused before a command: they would do nothing there.
    """
    if context.invoked_subcommand is None:
        return True
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.replace("as_", "").replace("_", "-")
            raise typer.BadParameter(
                f"--{option} belongs to the list: put what the command takes after its name, as in "
                f"{context.command_path} {context.invoked_subcommand} --{option} …"
            )
    return False
