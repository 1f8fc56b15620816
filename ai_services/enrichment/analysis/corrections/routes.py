"""Endpoints of corrections: parse, call, respond."""

from ai_services.enrichment.analysis.corrections import correcting, schemas
from ai_services.enrichment.service import Stores
from shared.serving.service import Call, Endpoint


async def correct(call: Call[Stores]) -> schemas.CorrectionOut:
    body: schemas.CorrectionIn = call.body
    stores = call.state
    done = await correcting.correct(
        stores.relational, call.org_id, call.params["callid"], body.wish,
        actor=call.principal.subject, labels=stores.topics,
    )  # fmt: skip
    return schemas.CorrectionOut.of(done)


async def withdraw(call: Call[Stores]) -> schemas.CorrectionOut:
    q: schemas.WithdrawQuery = call.query
    done = await correcting.withdraw(
        call.state.relational, call.org_id, call.params["callid"],
        actor=call.principal.subject, facts=q.fact and [q.fact], version=q.version,
    )  # fmt: skip
    return schemas.CorrectionOut.of(done)


async def history(call: Call[Stores]) -> schemas.CorrectionHistory:
    q: schemas.CorrectionsQuery = call.query
    return schemas.CorrectionHistory.of(
        await correcting.history(
            call.state.relational, call.org_id, call.params["callid"],
            cursor=q.cursor, limit=q.limit,
        )
    )  # fmt: skip


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "PATCH", "/api/v1/calls/{callid}/analysis", correct, "calls:write",
        "Correct facts of a call's analysis: they hold whatever an analyser says",
        body=schemas.CorrectionIn, body_limit=65_536, returns=schemas.CorrectionOut,
    ),
    Endpoint(
        "GET", "/api/v1/calls/{callid}/analysis/corrections", history, "calls:read",
        "What is corrected of a call, and every change of that, newest first",
        query=schemas.CorrectionsQuery, returns=schemas.CorrectionHistory,
    ),
    Endpoint(
        "DELETE", "/api/v1/calls/{callid}/analysis/corrections", withdraw, "calls:write",
        "Withdraw what is corrected of a call, or one fact: the analyser's verdict holds again",
        query=schemas.WithdrawQuery, returns=schemas.CorrectionOut,
    ),
]  # fmt: skip
