"""`looma customers` and `looma calls`: customers who are one, and what is erased."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from looma_cli import exit_codes
from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from ai_services.enrichment.customers.alias_store import Merge
    from ai_services.enrichment.customers.erasing import Order
    from ai_services.enrichment.customers.erasure_store import Erasure
    from ai_services.enrichment.customers.merging import Who
    from shared.config import Config

customers = typer.Typer(
    no_args_is_help=True, help="Customers: merge, split, history, erase with all that is theirs."
)
calls = typer.Typer(
    no_args_is_help=True, help="Calls: erase one, correct what analysers say of it."
)
_ACTOR = "service:cli"
CustomerId = Annotated[str, typer.Argument(metavar="ID", help="The customer.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]


@customers.command()
def merge(
    customer_id: CustomerId,
    into: Annotated[str, typer.Argument(help="Whose calls they become.")],
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Let a customer's calls, those to come too, count for another one."""
    from looma_cli.runner import run

    _show_merge(run(lambda config: _merge(config, org, customer_id, into)), as_json=as_json)


@customers.command()
def split(
    customer_id: CustomerId,
    merge_id: Annotated[UUID, typer.Argument(help="As merge or history printed it.")],
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Undo a merge."""
    from looma_cli.runner import run

    _show_merge(run(lambda config: _split(config, org, customer_id, merge_id)), as_json=as_json)


@customers.command()
def history(customer_id: CustomerId, org: Org = None, as_json: AsJson = False) -> None:
    """Show who a customer is one with, and the newest merges and splits."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    who, merges = run(lambda config: _history(config, org, customer_id))
    if as_json:
        shown = [_document_of_merge(one) for one in merges]
        write_json({"survivor": who.survivor, "aliases": list(who.aliases), "merges": shown})
        return
    say(f"Its calls are under {who.survivor}; under it are those of {len(who.aliases)} others.")
    rows = [
        (one.merge_id, one.customer_id, one.into_id, one.calls, one.merged_by, one.split_by or "")
        for one in merges
    ]
    results().print(table(("merge", "customer", "into", "#calls", "by", "split by"), rows))


@customers.command("erase")
def erase_customer(
    customer_id: CustomerId, yes: Yes = False, org: Org = None, as_json: AsJson = False
) -> None:
    """Erase a customer, and all who are one with it, for good. Prints the receipt."""
    from looma_cli.runner import run

    _ask(yes, "the customer, and all who are one with it: calls, transcripts and numbers")
    _show_receipt(run(lambda config: _erase_customer(config, org, customer_id)), as_json=as_json)


@calls.command("erase")
def erase_call(
    callid: Annotated[str, typer.Argument(metavar="CALLID")],
    yes: Yes = False,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Erase a call with its transcript, for good. Prints the receipt."""
    from looma_cli.runner import run

    _ask(yes, "the call with its transcript")
    _show_receipt(run(lambda config: _erase_call(config, org, callid)), as_json=as_json)


def _ask(yes: bool, what: str) -> None:
    from looma_cli.terminal.console import say

    if yes or typer.confirm(f"Erase {what}? It can't be undone.", err=True):
        return
    say("Nothing was erased.")
    raise typer.Exit(exit_codes.FAILED)


async def _merge(config: Config, org: str | None, customer_id: str, into: str) -> Merge:
    from ai_services.enrichment.customers import merging
    from ai_services.enrichment.customers.digests import Digests
    from looma_cli.stores.organisation import opened_for
    from shared.secrets import data_key

    async with opened_for(config, org) as (db, org_id):
        digests = Digests(data_key(config), org_id)
        return await merging.merge(db, digests, org_id, customer_id, into, actor=_ACTOR, most=None)


async def _split(config: Config, org: str | None, customer_id: str, merge_id: UUID) -> Merge:
    from ai_services.enrichment.customers import merging
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (db, org_id):
        return await merging.split(db, org_id, customer_id, merge_id, actor=_ACTOR, most=None)


async def _history(config: Config, org: str | None, customer_id: str) -> tuple[Who, list[Merge]]:
    from ai_services.enrichment.customers import merging
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (db, org_id):
        who, page = await merging.history(db, org_id, customer_id, cursor=None, limit=100)
    return who, list(page.items)


async def _erase_customer(config: Config, org: str | None, customer_id: str) -> Erasure:
    """To its end, whether a job is at it or not: the steps of both take turns."""
    from ai_services.enrichment.customers import erasing, forgetting
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (db, org_id):
        found = await erasing.erase_customer(db, org_id, customer_id, _order(config, org_id))
        while found.finished_at is None:
            found = await forgetting.step(partial(db.tenant, org_id), org_id, found.erasure_id)
    return found


async def _erase_call(config: Config, org: str | None, callid: str) -> Erasure:
    from ai_services.enrichment.customers import erasing
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (db, org_id):
        return await erasing.erase_call(db, org_id, callid, _order(config, org_id))


def _order(config: Config, org_id: UUID) -> Order:
    from ai_services.enrichment.customers.digests import Digests
    from ai_services.enrichment.customers.erasing import Order
    from shared.secrets import data_key

    return Order(Digests(data_key(config), org_id), _ACTOR, config.erased_stay_out)


def _show_merge(done: Merge, *, as_json: bool) -> None:
    from looma_cli.terminal.console import say, write_json

    if as_json:
        write_json(_document_of_merge(done))
        return
    if done.split_at is not None:
        say(f"Split: {done.customer_id} stands for itself again.")
    else:
        say(f"Merged: {done.calls:,} calls of {done.customer_id} count for {done.into_id}.")
    print(done.merge_id)


def _show_receipt(done: Erasure, *, as_json: bool) -> None:
    from ai_services.enrichment.customers.schemas import ErasureOut
    from looma_cli.terminal.console import say, write_json

    if as_json:
        write_json(ErasureOut.of(done).model_dump(mode="json"))
        return
    say(
        f"Erased: {done.calls:,} calls, {done.transcripts:,} transcripts, "
        f"{done.rejects:,} rejected rows. The receipt, also in the audit log:"
    )
    print(f"{done.erasure_id} {done.hash}")


def _document_of_merge(one: Merge) -> dict[str, Any]:
    from ai_services.enrichment.customers.schemas import MergeOut

    return MergeOut.of(one).model_dump(mode="json")
