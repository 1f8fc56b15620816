"""Endpoints of portraits: parse, call, respond."""

from orjson import Fragment
from sanic.response import HTTPResponse

from ai_services.portrait import schemas, service
from ai_services.portrait.computing import jobs
from ai_services.portrait.computing.request import requested
from ai_services.portrait.customers import routes as customer_routes
from ai_services.portrait.detail import routes as detail_routes
from ai_services.portrait.dimension import USER, Subject, subject_of
from ai_services.portrait.exporting import routes as export_routes
from ai_services.portrait.history import routes as history_routes
from ai_services.portrait.pictures import routes as picture_routes
from ai_services.portrait.segments import routes as segment_routes
from ai_services.portrait.state import Stores
from shared.ids import one_spelling
from shared.jobs.answer import JobOut, answer_with_job
from shared.serving.service import Call, Endpoint


async def list_periods(call: Call[Stores]) -> schemas.PeriodsOut:
    query: schemas.PeriodsQuery = call.query
    found = await service.list_periods(call.state.relational, call.org_id, query.type, query.limit)
    return schemas.PeriodsOut.of(query.type, found)


# The organisation.


async def get_summary(call: Call[Stores]) -> Fragment:
    query: schemas.PortraitQuery = call.query

    async def made() -> schemas.SummaryOut:
        return schemas.SummaryOut.of(
            await service.summary(
                call.state.relational, call.org_id, query.period_type, query.period_key
            )
        )

    return await call.state.answers.of(
        call.org_id, None, query.period_type, ("portrait", query), made
    )


async def get_trend(call: Call[Stores]) -> Fragment:
    query: schemas.TrendQuery = call.query
    return await _trend(call, query.subject, query)


# One subject of a dimension.


async def get_portrait(call: Call[Stores]) -> Fragment:
    """The seed's: a user without calls in the named period is not found."""
    query: schemas.PortraitQuery = call.query
    subject = Subject(USER, one_spelling(call.params["user_id"]))

    async def made() -> schemas.PortraitOut:
        return schemas.PortraitOut.of(
            await service.portrait(
                call.state.relational, call.org_id, subject, query.period_type, query.period_key
            )
        )

    return await call.state.answers.of(
        call.org_id, subject, query.period_type, ("user", query), made
    )


async def get_subject_portrait(call: Call[Stores]) -> Fragment:
    query: schemas.PortraitQuery = call.query
    subject = subject_of(call.params)

    async def made() -> schemas.SubjectPortraitOut:
        return schemas.SubjectPortraitOut.of(
            await service.portrait(
                call.state.relational, call.org_id, subject, query.period_type, query.period_key,
                with_calls=False,
            )
        )  # fmt: skip

    return await call.state.answers.of(
        call.org_id, subject, query.period_type, ("portrait", query), made
    )


async def get_subject_trend(call: Call[Stores]) -> Fragment:
    return await _trend(call, subject_of(call.params), call.query)


# Of both.


async def _trend(
    call: Call[Stores], subject: Subject | None, query: schemas.SubjectTrendQuery
) -> Fragment:
    async def made() -> schemas.TrendOut:
        points = await service.trend(
            call.state.relational, call.org_id, query.period_type, query.metric, query.limit,
            subject,
        )  # fmt: skip
        return schemas.TrendOut.of(query.metric, query.period_type, points)

    return await call.state.answers.of(
        call.org_id, subject, query.period_type, ("trend", query), made
    )


async def compute(call: Call[Stores]) -> HTTPResponse:
    body: schemas.ComputeIn = call.body
    wanted = requested(body.period_type, body.period_key, body.from_, body.to)
    job_id = await jobs.ask(call.state.relational, call.org_id, wanted)
    return await answer_with_job(call, call.state.relational, job_id, schemas.ComputeOut.of_job)


endpoints: list[Endpoint[Stores]] = [
    *history_routes.endpoints,
    *detail_routes.endpoints,
    *picture_routes.endpoints,
    *export_routes.endpoints,
    *customer_routes.endpoints,
    Endpoint(
        "GET", "/api/v1/periods", list_periods, "portrait:read",
        "Natural weeks, months or quarters and their status, newest first",
        query=schemas.PeriodsQuery, returns=schemas.PeriodsOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/summary", get_summary, "portrait:summary",
        "All users of the organisation together in one period",
        query=schemas.PortraitQuery, returns=schemas.SummaryOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/trend", get_trend, "portrait:summary",
        "One metric over periods, oldest first, of all users or one",
        query=schemas.TrendQuery, returns=schemas.TrendOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/{user_id}", get_portrait, "portrait:read",
        "One user's portrait in one period",
        query=schemas.PortraitQuery, returns=schemas.PortraitOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/{dimension}/{subject_id}", get_subject_portrait, "portrait:read",
        "The portrait of a user, customer, task or agent in one period; of one who was merged, the other's",
        query=schemas.PortraitQuery, returns=schemas.SubjectPortraitOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/{dimension}/{subject_id}/trend", get_subject_trend, "portrait:read",
        "One metric of a user, customer, task or agent over periods, oldest first",
        query=schemas.SubjectTrendQuery, returns=schemas.TrendOut,
    ),
    Endpoint(
        "POST", "/api/v1/admin/compute", compute, "portrait:compute",
        "Recompute portraits, by a job; `Prefer: wait=N` answers what it did if that is done within 60 s",
        body=schemas.ComputeIn, returns=JobOut, status=202, waited=schemas.ComputeOut,
    ),
    *segment_routes.endpoints,
]  # fmt: skip
