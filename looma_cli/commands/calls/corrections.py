"""`looma calls correct|corrections|withdraw`: what people decide of analysed calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from looma_cli.options import AsJson, Org

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.corrections.correcting import Wish
    from ai_services.enrichment.analysis.corrections.schemas import (
        CorrectionHistory,
        CorrectionOut,
    )
    from shared.config import Config

_ACTOR = "service:cli"
_SHOWN = 50
CallId = Annotated[str, typer.Argument(metavar="CALLID", help="The call.")]
SentimentName = Literal["positive", "neutral", "negative"]
RiskName = Literal["low", "medium", "high"]
ResolutionName = Literal["resolved", "partly", "unresolved", "no_request"]


def correct(
    callid: CallId,
    sentiment: Annotated[SentimentName | None, typer.Option(help="What it was.")] = None,
    score: Annotated[
        float | None, typer.Option(help="0 to 1: 0.6 or more is positive, 0.4 or less negative.")
    ] = None,
    complaint_risk: Annotated[RiskName | None, typer.Option(help="Of a complaint.")] = None,
    churn_risk: Annotated[RiskName | None, typer.Option(help="Of losing the customer.")] = None,
    topic: Annotated[str | None, typer.Option(help="What the call was about.")] = None,
    summary: Annotated[str | None, typer.Option(help="One line.")] = None,
    follow_up: Annotated[
        str | None, typer.Option(help="What is still to be done; '' for nothing.")
    ] = None,
    resolution: Annotated[ResolutionName | None, typer.Option(help="How it ended.")] = None,
    agent_quality: Annotated[int | None, typer.Option(help="1 to 5.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why; takes the place of the analyser's reason.")
    ] = None,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Decide facts of a call's analysis: they hold whatever an analyser says."""
    from looma_cli.runner import run

    given = {
        "sentiment": sentiment,
        "sentiment_score": score,
        "complaint_risk": complaint_risk,
        "churn_risk": churn_risk,
        "topic": topic,
        "summary": summary,
        "follow_up": follow_up,
        "resolution": resolution,
        "agent_quality": agent_quality,
        "reason": reason,
    }
    body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if follow_up == "":
        body["follow_up"] = None
    _show(run(lambda config: _correct(config, org, callid, _wish(body))), as_json=as_json)


def withdraw(
    callid: CallId,
    fact: Annotated[list[str] | None, typer.Option(help="Only this one; repeat it.")] = None,
    org: Org = None,
    as_json: AsJson = False,
) -> None:
    """Let the analyser's verdict on a call hold again."""
    from ai_services.enrichment.analysis.corrections.facts import FACTS
    from looma_cli.runner import run
    from shared.errors import InvalidInput

    for name in fact or ():
        if name not in FACTS:
            raise InvalidInput.of("--fact", f"{name} is no fact", f"one of {', '.join(FACTS)}")
    _show(run(lambda config: _withdraw(config, org, callid, fact)), as_json=as_json)


def corrections(callid: CallId, org: Org = None, as_json: AsJson = False) -> None:
    """Show what is corrected of a call, and the newest changes of that."""
    from looma_cli.runner import run
    from looma_cli.terminal.console import results, write_json
    from looma_cli.terminal.render import table

    found = run(lambda config: _history(config, org, callid))
    if as_json:
        write_json(found.model_dump(mode="json"))
        return
    _show(found.now, as_json=False)
    rows = [
        (one.version, one.at.isoformat(timespec="seconds"), one.actor, one.kind, fact,
         one.before[fact], value, one.reason)
        for one in found.entries
        for fact, value in one.after.items()
    ]  # fmt: skip
    columns = ("#version", "at", "who", "what", "fact", "before", "after", "reason")
    results().print(table(columns, rows))


def _wish(body: dict[str, Any]) -> Wish:
    from ai_services.enrichment.analysis.corrections.schemas import CorrectionIn
    from shared.serving.validation import validate

    wish: Wish = validate(CorrectionIn, body, "options").wish
    return wish


async def _correct(config: Config, org: str | None, callid: str, wish: Wish) -> CorrectionOut:
    from ai_services.enrichment.analysis.corrections import correcting
    from ai_services.enrichment.analysis.corrections.schemas import CorrectionOut
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (db, org_id):
        done = await correcting.correct(db, org_id, callid, wish, actor=_ACTOR)
    return CorrectionOut.of(done)


async def _withdraw(
    config: Config, org: str | None, callid: str, facts: list[str] | None
) -> CorrectionOut:
    from ai_services.enrichment.analysis.corrections import correcting
    from ai_services.enrichment.analysis.corrections.schemas import CorrectionOut
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (db, org_id):
        done = await correcting.withdraw(db, org_id, callid, actor=_ACTOR, facts=facts or None)
    return CorrectionOut.of(done)


async def _history(config: Config, org: str | None, callid: str) -> CorrectionHistory:
    from ai_services.enrichment.analysis.corrections import correcting
    from ai_services.enrichment.analysis.corrections.schemas import CorrectionHistory
    from looma_cli.stores.organisation import opened_for

    async with opened_for(config, org) as (db, org_id):
        return CorrectionHistory.of(
            await correcting.history(db, org_id, callid, cursor=None, limit=_SHOWN)
        )


def _show(now: CorrectionOut, *, as_json: bool) -> None:
    from looma_cli.terminal.console import results, say, write_json
    from looma_cli.terminal.render import table

    if as_json:
        write_json(now.model_dump(mode="json"))
        return
    if not now.facts:
        say("Nothing is corrected: all is as the analyser says.")
        return
    rows = [(one.fact, one.corrected, one.analysed) for one in now.facts]
    results().print(table(("fact", "corrected", "analysed"), rows))
