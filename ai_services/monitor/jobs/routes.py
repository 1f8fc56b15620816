"""Endpoints about jobs and their schedules: parse, call, respond."""

from __future__ import annotations

from sanic.response import HTTPResponse

from ai_services.monitor.jobs import schemas, service
from shared.data_access.ports import Relational
from shared.jobs.answer import JobOut, answer_with_job
from shared.serving.service import Call, Endpoint


async def list_jobs(call: Call[Relational]) -> schemas.JobsOut:
    query: schemas.JobsQuery = call.query
    page = await service.list_jobs(
        call.state, call.org_id, query.name, query.state, cursor=query.cursor, limit=query.limit
    )
    items = [JobOut.of(job) for job in page.items]
    return schemas.JobsOut(jobs=items, next_cursor=page.next_cursor)


async def get_job(call: Call[Relational]) -> JobOut:
    job_id = service.job_id_of(call.params["job"])
    return JobOut.of(await service.get_job(call.state, call.org_id, job_id))


async def run_job(call: Call[Relational]) -> HTTPResponse:
    job_id = await service.run_job(call.state, call.org_id, call.params["job"])
    return await answer_with_job(call, call.state, job_id)


async def rebuild_projection(call: Call[Relational]) -> HTTPResponse:
    job_id = await service.rebuild_projection(call.state, call.org_id, call.params["projection"])
    return await answer_with_job(call, call.state, job_id)


async def cancel_job(call: Call[Relational]) -> JobOut:
    job_id = service.job_id_of(call.params["job"])
    return JobOut.of(await service.cancel_job(call.state, call.org_id, job_id))


async def retry_job(call: Call[Relational]) -> JobOut:
    job_id = service.job_id_of(call.params["job"])
    return JobOut.of(await service.retry_job(call.state, call.org_id, job_id))


async def pause_job(call: Call[Relational]) -> JobOut:
    job_id = service.job_id_of(call.params["job"])
    return JobOut.of(await service.pause_job(call.state, call.org_id, job_id))


async def resume_job(call: Call[Relational]) -> JobOut:
    job_id = service.job_id_of(call.params["job"])
    return JobOut.of(await service.resume_job(call.state, call.org_id, job_id))


async def list_schedules(call: Call[Relational]) -> schemas.SchedulesOut:
    found = await service.list_schedules(call.state, call.org_id)
    return schemas.SchedulesOut(schedules=[schemas.ScheduleOut.of(one) for one in found])


async def put_schedule(call: Call[Relational]) -> schemas.ScheduleOut:
    body: schemas.ScheduleIn = call.body
    return schemas.ScheduleOut.of(
        await service.put_schedule(
            call.state, call.org_id, call.params["name"], body.cron, paused=body.paused
        )
    )


endpoints: list[Endpoint[Relational]] = [
    Endpoint(
        "GET", "/api/v1/jobs", list_jobs, "jobs:read",
        "Jobs of the organisation with their progress, newest first",
        query=schemas.JobsQuery, returns=schemas.JobsOut,
    ),
    Endpoint(
        "GET", "/api/v1/jobs/{job}", get_job, "jobs:read",
        "One job by its id: progress, last error, result",
        returns=JobOut,
    ),
    Endpoint(
        "POST", "/api/v1/jobs/{job}/run", run_job, "jobs:write",
        "Run a scheduled job by its name now; `Prefer: wait=N` answers when it has ended, within 60 s",
        returns=JobOut, status=202, waited=JobOut,
    ),
    Endpoint(
        "POST", "/api/v1/jobs/{job}/cancel", cancel_job, "jobs:write",
        "Cancel a job by its id; one that runs stops within seconds",
        returns=JobOut,
    ),
    Endpoint(
        "POST", "/api/v1/jobs/{job}/retry", retry_job, "jobs:write",
        "Queue a dead or cancelled job again; it goes on at its checkpoint",
        returns=JobOut,
    ),
    Endpoint(
        "POST", "/api/v1/jobs/{job}/pause", pause_job, "jobs:write",
        "Keep a job from running; one that runs stops at its next effect",
        returns=JobOut,
    ),
    Endpoint(
        "POST", "/api/v1/jobs/{job}/resume", resume_job, "jobs:write",
        "Let a paused job run, from its checkpoint on",
        returns=JobOut,
    ),
    Endpoint(
        "GET", "/api/v1/schedules", list_schedules, "jobs:read",
        "When each scheduled job of the organisation runs",
        returns=schemas.SchedulesOut,
    ),
    Endpoint(
        "PUT", "/api/v1/schedules/{name}", put_schedule, "jobs:write",
        "Choose the time of a scheduled job, pause it or let it run again",
        body=schemas.ScheduleIn, body_limit=16_384, returns=schemas.ScheduleOut,
    ),
    Endpoint(
        "POST", "/api/v1/admin/projections/{projection}/rebuild", rebuild_projection,
        "projections:write",
        "Clear a projection and fill it again from PostgreSQL; `Prefer: wait=N` answers when that has ended, within 60 s",
        returns=JobOut, status=202, waited=JobOut,
    ),
]  # fmt: skip
