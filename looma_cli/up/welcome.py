"""What `looma up` says once everything runs: what there is, where, and how to get in."""

from __future__ import annotations

from dataclasses import dataclass, field

from ai_services.auth.organisations import listing
from looma_cli.stores.holdings import Holdings, holdings
from looma_cli.terminal.console import results
from looma_cli.terminal.render import table
from shared.data_access.ports import Relational


@dataclass(frozen=True, slots=True)
class SignIn:
    """An account to enter with; `password` only right after it was made."""

    email: str
    password: str | None = field(repr=False, default=None)


async def survey(relational: Relational) -> dict[str, Holdings]:
    """What every organisation has, by its short name."""
    found = {}
    for organisation in await listing(relational):
        async with relational.tenant(organisation.org_id, readonly=True) as tx:
            found[organisation.slug] = await holdings(tx, organisation.org_id)
    return found


def show_holdings(found: dict[str, Holdings]) -> None:
    rows = [
        (slug, h.calls, h.transcripts, h.users, h.periods, h.portraits, h.first, h.last)
        for slug, h in found.items()
    ]
    columns = ("organisation", "#calls", "#transcripts", "#users", "#periods", "#portraits",
               "first call", "last call")  # fmt: skip
    results().print(table(columns, rows))


def show_addresses(gateway_url: str, sign_in: SignIn, seconds: float) -> None:
    console = results()
    console.print(f"[bold green]Looma AI is up[/] [dim]after {seconds:.1f} s")
    console.print(f"  gateway  [link]{gateway_url}[/]", soft_wrap=True)
    console.print(f"  API      {gateway_url}/docs", soft_wrap=True)
    console.print(f"  health   {gateway_url}/health", soft_wrap=True)
    if sign_in.password is not None:
        console.print(
            f"  sign in  {sign_in.email}  password  [bold]{sign_in.password}[/]", soft_wrap=True
        )
        console.print("           [dim]shown this once; change it after signing in")
    else:
        console.print(f"  sign in  {sign_in.email}", soft_wrap=True)
    console.print("  token    looma token --role analyst")
