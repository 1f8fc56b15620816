"""`looma analysis`: judge what waits, who judged what, topics and scripts, dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from ai_services.enrichment.analysis_schemas import AnalysisSettingsOut
    from looma_cli.work.analyse import Shares
    from shared.config import Config

analysis = typer.Typer(
    no_args_is_help=True, help="Who judges calls: run it, its shares, topics, dead letters."
)
_MOST = 1000


@analysis.command("run")
def run_pending(
    models: Annotated[
        bool, typer.Option("--models/--no-models", help="Ask the model about what waits for it.")
    ] = True,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Judge what waits, then show what each step of the chain has judged."""
    from looma_cli.runner import run

    _show(run(lambda config: _run(config, org, models)), as_json=as_json)


@analysis.command("shares")
def show_shares(org: Org = None, as_json: AsJson = False) -> None:
    """Show what each step of the chain has judged."""
    from looma_cli.runner import run

    _show(run(lambda config: _shares(config, org)), as_json=as_json)


@analysis.command("settings")
def settings(
    topic: Annotated[list[str] | None, typer.Option(help="A topic of calls; repeat it.")] = None,
    must_say: Annotated[
        list[str] | None, typer.Option(help="What agents must say; alternatives with | between.")
    ] = None,
    must_not_say: Annotated[list[str] | None, typer.Option(help="What they must not.")] = None,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Show what the organisation wants to know of its calls, or change the lists that are given.

    An empty text ('') empties a list.
    """
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    given = {"topics": topic, "must_say": must_say, "must_not_say": must_not_say}
    changes = {
        name: [one for one in texts if one] for name, texts in given.items() if texts is not None
    }
    now = run(lambda config: _settings(config, org, changes))
    if as_json:
        write_json(now.model_dump(mode="json"))
        return
    rows = [(name, "; ".join(texts)) for name, texts in now.model_dump().items()]
    results().print(table(("setting", "value"), rows))


@analysis.command("dead-letters")
def dead_letters(org: Org = None, as_json: AsJson = False) -> None:
    """Show the newest calls that no answer of a model fitted, at most 1,000."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    letters = run(lambda config: _dead_letters(config, org))
    if as_json:
        write_json(letters)
        return
    columns = ("failed_at", "callid", "reason", "analyzer", "detail")
    results().print(table(columns, ([one[name] for name in columns] for one in letters)))


@analysis.command("replay")
def replay(
    callid: Annotated[
        list[str] | None, typer.Argument(help="Calls; all dead letters unless given.")
    ] = None,
    org: Org = None,
) -> None:
    """Let dead letters wait for a model again."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import say

    number = run(lambda config: _replay(config, org, callid or None))
    say(f"{number} calls wait for a model again.")


def _show(shares: Shares, *, as_json: bool) -> None:
    from ai_services.enrichment.analysis.chain.judged import STEPS
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    if as_json:
        steps = {step: shares.steps.get(step, 0) for step in STEPS}
        rest = {"waiting": shares.waiting, "dead_letters": shares.dead}
        write_json({**steps, **rest, "by_model": shares.by_model, "why": shares.why})
        return
    total = sum(shares.steps.values())
    rows = [
        (step, calls, f"{100 * calls / total:.1f} %")
        for step in STEPS
        if (calls := shares.steps.get(step, 0))
    ]
    results().print(table(("step", "#calls", "#share"), rows))
    if shares.why is not None:
        say(f"No model was asked any more: {shares.why}")
    if shares.waiting:
        say(f"{shares.waiting} calls keep their local verdict until a model has judged them.")
    if shares.dead:
        say(f"{shares.dead} dead letters: looma analysis dead-letters shows why.")


async def _run(config: Config, org: str | None, models: bool) -> Shares:
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from looma_cli.work.analyse import analyse, judge_by_models, shares

    async with opened(config, {"relational", "cache"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        await analyse(config, data.relational, organisation.org_id)
        if models:
            return await judge_by_models(config, data, organisation.org_id)
        return await shares(data.relational, organisation.org_id)


async def _shares(config: Config, org: str | None) -> Shares:
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from looma_cli.work.analyse import shares

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        return await shares(data.relational, organisation.org_id)


async def _settings(
    config: Config, org: str | None, changes: dict[str, list[str]]
) -> AnalysisSettingsOut:
    from ai_services.enrichment.analysis.chain import store
    from ai_services.enrichment.analysis.chain.wanted import wanted_by
    from ai_services.enrichment.analysis_schemas import AnalysisSettingsIn, AnalysisSettingsOut
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from shared.serving.validation import validate

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        async with data.relational.tenant(organisation.org_id) as tx:
            before = AnalysisSettingsOut.of(await wanted_by(tx, organisation.org_id))
            if not changes:
                return before
            wanted = validate(
                AnalysisSettingsIn, {**before.model_dump(), **changes}, "settings"
            ).wanted
            await store.write_settings(
                tx, organisation.org_id, wanted.topics,
                wanted.script.must_say, wanted.script.must_not_say,
            )  # fmt: skip
            return AnalysisSettingsOut.of(wanted)


async def _dead_letters(config: Config, org: str | None) -> list[dict[str, Any]]:
    from ai_services.enrichment.analysis.chain import store
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve
    from shared.phones import mask_phones

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        async with data.relational.tenant(organisation.org_id, readonly=True) as tx:
            rows = await store.dead_letters(tx, organisation.org_id, _MOST, None)
    return [
        {**row, "failed_at": row["failed_at"].isoformat(), "detail": mask_phones(row["detail"])}
        for row in rows
    ]


async def _replay(config: Config, org: str | None, callids: list[str] | None) -> int:
    from ai_services.enrichment.analysis.chain import store
    from looma_cli.stores.open_stores import opened
    from looma_cli.stores.organisation import resolve

    async with opened(config, {"relational"}) as data:
        organisation = await resolve(data.relational, org, config.organisation)
        async with data.relational.tenant(organisation.org_id) as tx:
            return await store.replay(tx, organisation.org_id, callids)
