"""`looma audit`: who changed what, and whether the log is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from looma_cli import exit_codes
from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from shared.audit.chain import Anchor, Entry
    from shared.audit.trail import Verification
    from shared.config import Config

audit = typer.Typer(no_args_is_help=True, help="The audit log: who changed what; is it whole?")


@audit.command("list")
def list_entries(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    entries = run(lambda config: _entries(config, org, limit))
    if as_json:
        write_json([_document(entry) for entry in entries])
        return
    rows = [
        (entry.seq, entry.at.isoformat(timespec="seconds"), entry.actor, entry.action, entry.target)
        for entry in entries
    ]
    results().print(table(("#seq", "at", "actor", "action", "target"), rows))


@audit.command()
def verify(
    anchor: Annotated[
        str | None,
        typer.Option(help="SEQ:HASH that an earlier verify printed and was kept elsewhere."),
    ] = None,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Follow the hash chain from its start. Exits 4 if an entry was changed, removed or forged."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say, write_json

    known = _anchor(anchor)
    found = run(lambda config: _verify(config, org, known))
    head = f"{found.head.seq}:{found.head.hash.hex()}"
    broken = found.broken
    if as_json:
        at = None if broken is None else {"seq": broken.seq, "problem": broken.problem}
        write_json({"intact": broken is None, "head": head, "broken": at})
    elif broken is None:
        say(f"Intact: {found.head.seq:,} entries. Keep this elsewhere, to verify against later:")
        print(head)
    else:
        say(f"BROKEN at entry {broken.seq}: {broken.problem}. Intact up to {head}")
    raise typer.Exit(exit_codes.OK if broken is None else exit_codes.PARTLY)


def _anchor(text: str | None) -> Anchor | None:
    from shared.audit.chain import Anchor

    if text is None:
        return None
    seq, _, digest = text.partition(":")
    try:
        return Anchor(int(seq), bytes.fromhex(digest))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not SEQ:HASH, e.g. 12:9f86d0…") from None


async def _entries(config: Config, org: str | None, limit: int) -> list[Entry]:
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from shared.audit import trail as log

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        page = await log.list_entries(
            data.relational, organisation.org_id, limit=limit, cursor=None
        )
    return list(page.items)


async def _verify(config: Config, org: str | None, anchor: Anchor | None) -> Verification:
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from shared.audit import trail as log

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        return await log.verify(data.relational, organisation.org_id, anchor=anchor)


def _document(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": entry.at.isoformat(),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "details": dict(entry.details),
    }
