"""Endpoints of the analysis: what an organisation wants to know of its calls, and dead letters."""

from ai_services.enrichment import analysis_schemas as schemas
from ai_services.enrichment.analysis.chain import store
from ai_services.enrichment.analysis.chain.wanted import wanted_by
from ai_services.enrichment.service import Stores
from shared.cursor import Listing, moment, word
from shared.serving.service import Call, Endpoint


async def get_settings(call: Call[Stores]) -> schemas.AnalysisSettingsOut:
    async with call.state.relational.tenant(call.org_id, readonly=True) as tx:
        return schemas.AnalysisSettingsOut.of(await wanted_by(tx, call.org_id))


async def put_settings(call: Call[Stores]) -> schemas.AnalysisSettingsOut:
    body: schemas.AnalysisSettingsIn = call.body
    wanted = body.wanted
    async with call.state.relational.tenant(call.org_id) as tx:
        await store.write_settings(
            tx, call.org_id, wanted.topics, wanted.script.must_say, wanted.script.must_not_say
        )
    return schemas.AnalysisSettingsOut.of(wanted)


async def list_dead_letters(call: Call[Stores]) -> schemas.AnalysisDeadLetters:
    q: schemas.DeadLettersQuery = call.query
    listing = Listing(
        "analysis dead letters", (str(call.org_id),), lambda at, callid: (moment(at), word(callid))
    )
    before = listing.position(q.cursor)
    async with call.state.relational.tenant(call.org_id, readonly=True) as tx:
        rows = await store.dead_letters(tx, call.org_id, q.limit + 1, before)
    page = listing.page(rows, q.limit, lambda row: (row["failed_at"], row["callid"]))
    return schemas.AnalysisDeadLetters.of(page)


async def replay_dead_letters(call: Call[Stores]) -> schemas.Replayed:
    body: schemas.ReplayIn = call.body
    async with call.state.relational.tenant(call.org_id) as tx:
        return schemas.Replayed(replayed=await store.replay(tx, call.org_id, body.callids))


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "GET", "/api/v1/analysis/settings", get_settings, "analysis:read",
        "Topics of calls, and what agents must and must not say",
        returns=schemas.AnalysisSettingsOut,
    ),
    Endpoint(
        "PUT", "/api/v1/analysis/settings", put_settings, "analysis:write",
        "Decide the topics of calls, and what agents must and must not say",
        body=schemas.AnalysisSettingsIn, body_limit=262_144, returns=schemas.AnalysisSettingsOut,
    ),
    Endpoint(
        "GET", "/api/v1/analysis/dead-letters", list_dead_letters, "analysis:read",
        "Calls that no answer of a model fitted, newest first",
        query=schemas.DeadLettersQuery, returns=schemas.AnalysisDeadLetters,
    ),
    Endpoint(
        "POST", "/api/v1/analysis/dead-letters/replay", replay_dead_letters, "analysis:write",
        "Let dead letters wait for a model again",
        body=schemas.ReplayIn, returns=schemas.Replayed,
    ),
]  # fmt: skip
