"""`looma token` and `looma keys`: ways in for people and machines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from looma_cli.options import AsJson, Org, RoleName

if TYPE_CHECKING:
    from ai_services.auth.service import Auth
    from shared.config import Config
    from shared.security import Principal

keys = typer.Typer(
    no_args_is_help=True, help="API keys of machines, and the key that signs tokens."
)
T = TypeVar("T")


def token(
    role: Annotated[RoleName, typer.Option(help="What it may do.")] = "analyst", org: Org = None
) -> None:
    """Print an access token, good for ACCESS_TOKEN_SECONDS: TOKEN=$(looma token)."""
    print(_run(org, lambda auth, me: auth.sessions.mint(me, role)))


def _run(org: str | None, work: Callable[[Auth, Principal], Awaitable[T]]) -> T:
    """Do `work` as the operator of the organisation."""
    from looma_cli.runner import run

    async def with_auth(config: Config) -> T:
        async with as_operator(config, org) as (auth, principal):
            return await work(auth, principal)

    return run(with_auth)


@asynccontextmanager
async def as_operator(config: Config, org: str | None) -> AsyncIterator[tuple[Auth, Principal]]:
    from ai_services.auth.service import open_auth, operator
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve

    async with opened(config, {"relational", "cache"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        with open_auth(config, data.relational, data.cache) as auth:
            yield auth, operator(organisation.org_id)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Annotated[RoleName, typer.Option(help="What it may do.")] = "service",
    days: Annotated[int | None, typer.Option(min=1, help="Days that it lives.")] = None,
    owner: Annotated[
        str | None,
        typer.Option(help="E-mail address of the user it ends with; without: the organisation."),
    ] = None,
    org: Org = None,
) -> None:
    """Make an API key and print it, the only time: send it as X-API-Key.

    It counts for what its owner is at the moment, and ends when they are disabled or deleted. One
    of the organisation itself stays, and is at most analyst.
    """
    made = _run(
        org,
        lambda auth, me: auth.api_keys.create(
            me,
            name=name,
            role=role,
            expires_at=auth.clock() + timedelta(days=days) if days else None,
            owner_email=owner,
        ),
    )
    print(made.secret)


@keys.command("list")
def list_keys(org: Org = None, as_json: AsJson = False) -> None:
    """List API keys, revoked ones too."""
    from looma_cli.commands.pages import every
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    found = _run(
        org, lambda auth, me: every(lambda c: auth.api_keys.listing(me, limit=500, cursor=c))
    )
    rows = [
        {
            "key_id": str(key.key_id), "name": key.name, "role": key.role,
            "role_now": key.role_now, "owner_id": str(key.owner_id) if key.owner_id else None,
            "made_by_key": str(key.made_by_key) if key.made_by_key else None, "prefix": key.prefix,
            "created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at,
        }
        for key in found
    ]  # fmt: skip
    if as_json:
        write_json(rows)
        return
    columns = (
        "key_id", "name", "role", "role_now", "owner_id", "made_by_key", "prefix", "created_at",
        "expires_at", "revoked_at",
    )  # fmt: skip
    results().print(table(columns, ([row[name] for name in columns] for row in rows)))


@keys.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(help="As looma keys list shows it.")], org: Org = None
) -> None:
    """End an API key; the gateway refuses it within seconds."""
    from looma_cli.terminal.console import say

    _run(org, lambda auth, me: auth.api_keys.revoke(me, key_id))
    say("Revoked.")


@keys.command()
def transfer(
    key_id: Annotated[UUID, typer.Argument(help="As looma keys list shows it.")],
    role: Annotated[RoleName, typer.Option(help="What it keeps: at most what it has.")] = "service",
    org: Org = None,
) -> None:
    """Hand a living API key over to the organisation: it stays when its owner goes."""
    from looma_cli.terminal.console import say

    _run(org, lambda auth, me: auth.api_keys.transfer(me, key_id, role))
    say("It belongs to the organisation now.")


@keys.command()
def rotate() -> None:
    """Sign access tokens with a new key from now on; tokens that live are good until they end."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    say(f"Signing with {run(_rotate)} now.")


async def _rotate(config: Config) -> str:
    from ai_services.auth.service import open_auth
    from looma_cli.stores.open_stores import opened

    async with opened(config, {"relational", "cache"}) as data:
        with open_auth(config, data.relational, data.cache) as auth:
            return await auth.signer.rotate()
