"""`looma orgs` and `looma users`: organisations and who may enter them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from looma_cli.commands.access import as_operator
from looma_cli.options import AsJson, Org, RoleName

if TYPE_CHECKING:
    from ai_services.auth.user import User
    from looma_cli.stores.holdings import Holdings
    from shared.config import Config

orgs = typer.Typer(no_args_is_help=True, help="Organisations: list, create.")
users = typer.Typer(no_args_is_help=True, help="People who sign in: list, create.")


@orgs.command("list")
def list_orgs(as_json: AsJson = False) -> None:
    """Show the organisations and what they have."""
    from dataclasses import asdict

    from looma_cli.runner import run
    from looma_cli.terminal.console import write_json
    from looma_cli.up.welcome import show_holdings

    found = run(_survey)
    if as_json:
        write_json([{"slug": slug, **asdict(holdings)} for slug, holdings in found.items()])
    else:
        show_holdings(found)


async def _survey(config: Config) -> dict[str, Holdings]:
    from looma_cli.stores.open_stores import opened
    from looma_cli.up.welcome import survey

    async with opened(config, {"relational"}) as data:
        return await survey(data.relational)


@orgs.command("create")
def create_org(
    slug: Annotated[str, typer.Argument(help="Short name: a-z, 0-9 and -.")],
    name: Annotated[str | None, typer.Option(help="Shown to people.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of its days and periods; else DEFAULT_TIMEZONE.")
    ] = None,
) -> None:
    """Make an organisation, without users yet."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    run(lambda config: _create_org(config, slug, name or slug, timezone))
    say(f"Made. Add an admin: looma users create EMAIL --role admin --org {slug}")


async def _create_org(config: Config, slug: str, name: str, timezone: str | None) -> None:
    from ai_services.auth.service import open_auth
    from looma_cli.stores.open_stores import opened

    async with opened(config, {"relational", "cache"}) as data:
        with open_auth(config, data.relational, data.cache) as auth:
            zone = timezone or config.default_timezone
            await auth.organisations.create(slug, name, zone, actor="service:cli")


@users.command("list")
def list_users(org: Org = None, as_json: AsJson = False) -> None:
    """Show who may sign in."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    found = run(lambda config: _users(config, org))
    rows = [
        {
            "user_id": str(user.user_id), "email": user.email, "name": user.name,
            "role": user.role, "disabled": user.disabled, "created_at": user.created_at,
        }
        for user in found
    ]  # fmt: skip
    if as_json:
        write_json(rows)
        return
    columns = ("user_id", "email", "name", "role", "disabled")
    results().print(table(columns, ([row[name] for name in columns] for row in rows)))


async def _users(config: Config, org: str | None) -> list[User]:
    from looma_cli.commands.pages import every

    async with as_operator(config, org) as (auth, me):
        return await every(lambda cursor: auth.users.listing(me, limit=500, cursor=cursor))


@users.command("create")
def create_user(
    email: Annotated[str, typer.Argument()],
    role: Annotated[RoleName, typer.Option(help="What they may do.")] = "analyst",
    name: Annotated[str, typer.Option(help="Shown to people.")] = "",
    org: Org = None,
) -> None:
    """Make a user and print a random password, the only time."""
    from looma_cli.runner import run

    print(run(lambda config: _create_user(config, org, email, role, name)))


async def _create_user(
    config: Config, org: str | None, email: str, role: RoleName, name: str
) -> str:
    from ai_services.auth.sign_in.passwords import random_password

    password = random_password()
    async with as_operator(config, org) as (auth, me):
        await auth.users.create(me, email=email, name=name, role=role, password=password)
    return password
