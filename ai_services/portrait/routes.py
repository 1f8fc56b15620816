"""Endpoints of the portrait service: parse, call, respond."""

from sanic.response import HTTPResponse

from ai_services.portrait import schemas, service
from ai_services.portrait.computing import jobs
from ai_services.portrait.computing.request import requested
from ai_services.portrait.dimension import CUSTOMER, USER, Subject
from ai_services.portrait.segments import routes as segments
from shared.data_access.ports import Relational
from shared.ids import one_spelling
from shared.jobs.answer import JobOut, answer_with_job
from shared.serving.service import Call, Endpoint


async def list_periods(call: Call[Relational]) -> schemas.PeriodsOut:
    query: schemas.PeriodsQuery = call.query
    found = await service.list_periods(call.state, call.org_id, query.type, query.limit)
    return schemas.PeriodsOut.of(query.type, found)


async def get_summary(call: Call[Relational]) -> schemas.SummaryOut:
    query: schemas.PortraitQuery = call.query
    return schemas.SummaryOut.of(
        await service.summary(call.state, call.org_id, query.period_type, query.period_key)
    )


async def get_trend(call: Call[Relational]) -> schemas.TrendOut:
    query: schemas.TrendQuery = call.query
    points = await service.trend(
        call.state, call.org_id, query.period_type, query.metric, query.limit,
        query.subject,
    )  # fmt: skip
    return schemas.TrendOut.of(query.metric, query.period_type, points)


async def get_portrait(call: Call[Relational]) -> schemas.PortraitOut:
    query: schemas.PortraitQuery = call.query
    return schemas.PortraitOut.of(
        await service.portrait(
            call.state, call.org_id, Subject(USER, call.params["user_id"]),
            query.period_type, query.period_key,
        )
    )  # fmt: skip


async def get_customer_portrait(call: Call[Relational]) -> schemas.CustomerPortraitOut:
    query: schemas.PortraitQuery = call.query
    return schemas.CustomerPortraitOut.of(
        await service.portrait(
            call.state, call.org_id, _customer(call), query.period_type, query.period_key
        )
    )


async def get_customer_trend(call: Call[Relational]) -> schemas.TrendOut:
    query: schemas.CustomerTrendQuery = call.query
    points = await service.trend(
        call.state, call.org_id, query.period_type, query.metric, query.limit, _customer(call)
    )
    return schemas.TrendOut.of(query.metric, query.period_type, points)


def _customer(call: Call[Relational]) -> Subject:
    return Subject(CUSTOMER, one_spelling(call.params["customer_id"]))


async def compute(call: Call[Relational]) -> HTTPResponse:
    body: schemas.ComputeIn = call.body
    wanted = requested(body.period_type, body.period_key, body.from_, body.to)
    job_id = await jobs.ask(call.state, call.org_id, wanted)
    return await answer_with_job(call, call.state, job_id, schemas.ComputeOut.of_job)


endpoints: list[Endpoint[Relational]] = [
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
        "GET", "/api/v1/portrait/customers/{customer_id}", get_customer_portrait, "portrait:read",
        "One customer's portrait in one period, that of whom they were merged into",
        query=schemas.PortraitQuery, returns=schemas.CustomerPortraitOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/customers/{customer_id}/trend", get_customer_trend, "portrait:read",
        "One metric of one customer over periods, oldest first",
        query=schemas.CustomerTrendQuery, returns=schemas.TrendOut,
    ),
    Endpoint(
        "POST", "/api/v1/admin/compute", compute, "portrait:compute",
        "Recompute portraits, by a job; `Prefer: wait=N` answers what it did if that is done within 60 s",
        body=schemas.ComputeIn, returns=JobOut, status=202, waited=schemas.ComputeOut,
    ),
    *segments.endpoints,
]  # fmt: skip
