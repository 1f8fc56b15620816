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
