"""Rebuilding projections as jobs: one kind for each projection, done by the service that has it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Final

from shared.data_access.outbox.relay import OutboxRelay
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType
from shared.services import Projection

_TIME_LIMIT: Final = timedelta(hours=8)


def rebuild_name(projection: str) -> str:
    """The name of the job that rebuilds it."""
    return f"rebuild_{projection}"


def rebuild_jobs(
    relay: OutboxRelay, projections: Collection[Projection]
) -> tuple[JobType[Any], ...]:
    """Of the projections that `relay` feeds.

    A rebuild that is taken over begins anew, which does no harm: it clears the projection first,
    and writes what PostgreSQL says. What it writes leaves PostgreSQL, so it can't be fenced: the
    relay's lock keeps two from rebuilding at once, `looma rebuild` among them, also where a process
    stands still beyond its lease, as long as its connection lives.
    """
    return tuple(_rebuild(relay, one.name, one.store) for one in projections)


def _rebuild(relay: OutboxRelay, projection: str, store: str) -> JobType[Any]:
    async def handler(job: JobContext[Any], _args: Mapping[str, Any]) -> Mapping[str, Any]:
        assert job.org_id is not None, f"{job.name} is done for an organisation"
        return {"written": await relay.rebuild(projection, job.org_id, job.progress)}

    return JobType(
        rebuild_name(projection),
        handler,
        _TIME_LIMIT,
        f"Clear the projection {projection} (in {store}) and fill it again from PostgreSQL.",
        exclusive=True,
    )
