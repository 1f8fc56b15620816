"""What a request that starts a job is answered: the job, or what came of it (RFC 7240, §4.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sanic.response import HTTPResponse

from shared.data_access.ports import Relational
from shared.errors import Conflict, InternalError
from shared.jobs.store.jobs import Job
from shared.jobs.store.state import State
from shared.jobs.waiting import until_ended, wait_preference
from shared.serving.envelope import success
from shared.serving.service import Call


class ProgressOut(BaseModel):
    done: int
    total: int | None = Field(description="null as long as nobody knows")
    rate: float | None = Field(description="units per second; null while it doesn't run")
    eta_seconds: float | None = Field(description="from now; null where it can't be known")


class JobOut(BaseModel):
    id: int
    name: str
    state: State
    stopping: State | None = Field(description="what a running job was asked to be and isn't yet")
    progress: ProgressOut
    failures: int = Field(description="attempts that failed")
    error: str | None = Field(description="of the last failure")
    result: dict[str, Any] | None
    args: dict[str, Any]
    priority: int
    scheduled_for: datetime | None = Field(description="the time of its schedule that it runs for")
    created_at: datetime
    run_at: datetime = Field(description="it doesn't begin before")
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> JobOut:
        progress = job.progress
        return cls(
            id=job.job_id,
            name=job.name,
            state=job.state,
            stopping=job.stop,
            progress=ProgressOut(
                done=progress.done,
                total=progress.total,
                rate=progress.rate,
                eta_seconds=progress.eta_s,
            ),
            failures=job.failures,
            error=job.error,
            result=None if job.result is None else dict(job.result),
            args=dict(job.args),
            priority=job.priority,
            scheduled_for=job.scheduled_for,
            created_at=job.created_at,
            run_at=job.run_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


async def answer_with_job(
    call: Call[Any],
    db: Relational,
    job_id: int,
    result: Callable[[Job], BaseModel] | None = None,
) -> HTTPResponse:
    """202 with the job as it stands, or 200 once it has ended within `Prefer: wait=N`.

    200 holds the job, however it ended. With `result` it holds what that makes of a job that
    succeeded; one that was cancelled raises Conflict then, one that died InternalError.
    """
    wait_s = wait_preference(call.request.headers.getall("prefer", ()))
    job = await until_ended(db, call.org_id, job_id, wait_s or 0)
    if job.finished_at is None:
        response = success(JobOut.of(job), call.request_id, 202)
    else:
        response = success(_ended(job, result), call.request_id, 200)
    response.headers["location"] = _address(job)
    if wait_s is not None:
        response.headers["preference-applied"] = f"wait={wait_s}"
    return response


def _ended(job: Job, result: Callable[[Job], BaseModel] | None) -> BaseModel:
    if result is None:
        return JobOut.of(job)
    if job.state == "cancelled":
        raise Conflict(f"Job {job.job_id} was cancelled. Ask again if it is to be done after all.")
    if job.state != "succeeded":
        raise InternalError(
            f"Job {job.job_id} failed {job.failures} times and was given up. "
            f"GET {_address(job)} tells why."
        )
    return result(job)


def _address(job: Job) -> str:
    return f"/api/v1/jobs/{job.job_id}"
