from prometheus_client import CollectorRegistry

from ai_services.monitor.jobs.gauges import Gauges
from shared.jobs.store import jobs
from tests.ai_services.monitor.conftest import Api
from tests.shared.jobs.workplace import Workplace, job_type, steps


async def kill(place: Workplace, job_id: int, ended: str) -> None:
    async with place.db.system() as tx:
        await tx.execute(
            "UPDATE job SET state = 'dead', "
            "finished_at = clock_timestamp() - $2::text::interval WHERE job_id = $1",
            job_id, ended,
        )  # fmt: skip


async def test_jobs_that_died_within_a_day_are_counted_until_they_are_retried(api: Api) -> None:
    place, kind = api.place, job_type("steps", steps)
    registry = CollectorRegistry()
    gauges = Gauges(place.db, registry)
    orgs = [await place.organisation() for _ in range(2)]
    async with place.working(kind):
        pass  # declared
    ids = [(await place.put(kind, org, steps=0))[0] for org in (*orgs, orgs[0])]
    for job_id, ended in zip(ids, ("1 minute", "23 hours", "25 hours"), strict=True):
        await kill(place, job_id, ended)
    await gauges.once()
    assert registry.get_sample_value("jobs_dead", {"job_type": "steps"}) == 2
    async with place.db.system() as tx:
        await jobs.retry(tx, ids[0])
    await gauges.once()
    assert registry.get_sample_value("jobs_dead", {"job_type": "steps"}) == 1
