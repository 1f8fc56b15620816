"""The daily analysis: makes sure that no transcript was left behind."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from ai_services.enrichment.analysis import store
from ai_services.enrichment.analysis.chain import store as insights
from ai_services.enrichment.analysis.pending import Discarded, analyse_batch
from ai_services.enrichment.work import Work
from shared.data_access.ports import Transaction
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.chain.model_pass import ModelPass

_ELSEWHERE_S: Final = 1.0  # between two looks at what others analyse


async def llm_analyze_batch(job: JobContext[Work], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Until nothing waits that waited when it began, whoever analyses it.

    Tells how many `waited`, how many analyses it saved itself (`analysed`, of transcripts that came
    in since, too), and how many it `discarded`, as somebody else's or of a text that was corrected
    meanwhile. An analysis that fails makes it fail: it goes on where it was, after a pause.
    """
    del args
    assert job.org_id is not None, "it is scheduled for organisations"
    org_id, work = job.org_id, job.state
    cursor = dict(job.cursor or await _beginning(job, org_id))
    began = dt.datetime.fromisoformat(cursor.pop("began"))
    since = cursor.pop("models_since", None)
    told: dict[str, int] = cursor

    def discarded(reason: Discarded, calls: int) -> None:
        told["discarded"] += calls
        work.analyses.discarded(reason, calls)

    async def saving(tx: Transaction, calls: int) -> None:
        done = told["analysed"] + calls
        now = {**told, "analysed": done, "began": began.isoformat()}
        await job.checkpoint(tx, now, done=done, total=max(told["waited"], done))

    while await _waits(job, org_id, began):
        job.stop_if_asked()
        saved = await analyse_batch(
            job.db, org_id, work.analyzer, discarded, saving=saving, first=work.chain.first
        )
        if saved is None:  # somebody else has them, or will when a lease is over
            await asyncio.sleep(_ELSEWHERE_S)
            continue
        told["analysed"] += saved
        work.analyses.saved(org_id, saved)
    if work.chain.models is None:
        return told
    if since is None:
        since = await _now(job, org_id)
    return await _by_models(
        job, org_id, work.chain.models, {"began": began.isoformat(), "models_since": since}, told
    )


async def _by_models(
    job: JobContext[Work],
    org_id: UUID,
    models: ModelPass,
    times: Mapping[str, str],
    told: dict[str, int],
) -> dict[str, Any]:
    """Until no call waits for a model that waited when this began, or none can be asked.

    Tells how many verdicts it saved (`by_model`), how many calls it gave up (`dead_letters`), how
    many keep their local verdict for now (`degraded`), and why.
    """
    told.setdefault("by_model", 0)
    told.setdefault("dead_letters", 0)

    async def saving(tx: Transaction, calls: int) -> None:
        told["by_model"] += calls
        await job.checkpoint(tx, {**told, **times})

    why: str | None = None
    since = dt.datetime.fromisoformat(times["models_since"])
    while (left := await _waits_for_models(job, org_id, since)) and why is None:
        job.stop_if_asked()
        passed = await models.run(org_id, saving=saving)
        told["dead_letters"] += passed.dead
        if passed.away is not None:
            why = passed.away.outcome
        elif not passed.saved and not passed.dead:  # somebody else has them
            await asyncio.sleep(_ELSEWHERE_S)
    return {**told, "degraded": left, "no_model_because": why}


async def _now(job: JobContext[Work], org_id: UUID) -> str:
    async with job.db.tenant(org_id, readonly=True) as tx:
        _, now = await store.count_waiting(tx, org_id)
    return now.isoformat()


async def _waits_for_models(job: JobContext[Work], org_id: UUID, began: dt.datetime) -> int:
    async with job.db.tenant(org_id, readonly=True) as tx:
        return await insights.waited_before(tx, org_id, began)


async def _beginning(job: JobContext[Work], org_id: UUID) -> dict[str, Any]:
    async with job.db.tenant(org_id, readonly=True) as tx:
        waited, began = await store.count_waiting(tx, org_id)
    return {"began": began.isoformat(), "waited": waited, "analysed": 0, "discarded": 0}


async def _waits(job: JobContext[Work], org_id: UUID, began: dt.datetime) -> bool:
    async with job.db.tenant(org_id, readonly=True) as tx:
        return await store.waits_since(tx, org_id, began)


LLM_ANALYZE_BATCH: Final = JobType(
    "llm_analyze_batch",
    llm_analyze_batch,
    dt.timedelta(hours=4),
    "Analyses the transcripts that still wait.",
    cron="30 2 * * *",
    exclusive=True,
)
