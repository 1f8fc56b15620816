"""What `looma up --demo` fills: an organisation with a year of calls, analysed and computed."""

from __future__ import annotations

from uuid import UUID

from ai_services.auth.organisations import Organisation, listing
from ai_services.auth.service import Auth, operator
from ai_services.auth.sign_in.passwords import random_password
from ai_services.auth.store import users
from ai_services.enrichment.imports import store as import_store
from ai_services.portrait import service
from ai_services.portrait import store as portrait_store
from ai_services.portrait.computing.request import requested
from ai_services.portrait.dimension import USER, Subject
from looma_cli.stores.holdings import portraits_outdated
from looma_cli.terminal.console import results, say
from looma_cli.terminal.portrait_view import show_portrait
from looma_cli.up.start import DEMO, FillDemo, Opened
from looma_cli.up.welcome import SignIn
from looma_cli.work.analyse import analyse
from looma_cli.work.compute import compute_all
from looma_cli.work.demo_calls import write_calls
from looma_cli.work.import_calls import Source, bring_in
from shared.config import Config
from shared.data_access.ports import Relational

_SEED = 1
_EMAIL = "demo@looma.local"


def fill_with(calls: int) -> FillDemo:
    """What fills the demo organisation with so many calls, unless it has its data already."""

    async def fill(config: Config, opened: Opened, sign_in: SignIn) -> SignIn:
        return await _fill(config, opened, calls, sign_in)

    return fill


async def _fill(config: Config, opened: Opened, calls: int, sign_in: SignIn) -> SignIn:
    relational = opened.data.relational
    organisation, made = await _organisation(relational, opened.auth, config, sign_in)
    if await _filled(relational, organisation.org_id):
        say(f"The organisation {DEMO!r} has its data already.")
    else:
        await _import(config, relational, organisation, calls)
    await analyse(config, relational, organisation.org_id)
    if await _outdated(relational, organisation.org_id):
        await compute_all(relational, organisation.org_id, requested("all", None, None, None))
    await _show_one(relational, organisation.org_id)
    return made


async def _organisation(
    relational: Relational, auth: Auth, config: Config, sign_in: SignIn
) -> tuple[Organisation, SignIn]:
    """The demo organisation; one made beside others gets an admin of its own."""
    known = {one.slug: one for one in await listing(relational)}
    if DEMO in known:
        return known[DEMO], await _way_in(relational, known[DEMO].org_id, sign_in)
    made = await auth.organisations.create(
        DEMO, "Demo", config.default_timezone, actor="service:cli"
    )
    password = random_password()
    await auth.users.create(
        operator(made.org_id), email=_EMAIL, name="Demo", role="admin", password=password
    )
    return made, SignIn(_EMAIL, password)


async def _way_in(relational: Relational, org_id: UUID, sign_in: SignIn) -> SignIn:
    if sign_in.password is not None:
        return sign_in
    async with relational.tenant(org_id, readonly=True) as tx:
        email = await users.first_admin(tx, org_id)
    return SignIn(email or sign_in.email)


async def _filled(relational: Relational, org_id: UUID) -> bool:
    async with relational.tenant(org_id, readonly=True) as tx:
        return await import_store.import_finished(tx, org_id, DEMO)


async def _import(
    config: Config, relational: Relational, organisation: Organisation, calls: int
) -> None:
    """An interrupted import is repeated whole: the same seed gives the same calls."""
    path = config.home / f"demo-calls-{calls}.jsonl"
    try:
        write_calls(path, calls, _SEED)
        source = Source(path, "calls", name=DEMO)
        await bring_in(config, relational, organisation.org_id, source, title="Importing calls")
    finally:
        path.unlink(missing_ok=True)


async def _outdated(relational: Relational, org_id: UUID) -> bool:
    async with relational.tenant(org_id, readonly=True) as tx:
        return await portraits_outdated(tx, org_id)


async def _show_one(relational: Relational, org_id: UUID) -> None:
    """The newest quarter of the account with most calls, as an example."""
    async with relational.tenant(org_id, readonly=True) as tx:
        busiest = await portrait_store.busiest_user(tx, org_id)
    if busiest is not None:
        found = await service.portrait(relational, org_id, Subject(USER, busiest), "quarter")
        show_portrait(found)
        results().print(
            f"[dim]The same: looma portrait {busiest} --period-type quarter --org {DEMO}\n"
        )
