"""Endpoints of histories and comparisons: parse, call, respond."""

from orjson import Fragment

from ai_services.portrait.dimension import Subject, subject_of
from ai_services.portrait.history import history, schemas
from ai_services.portrait.state import Stores
from shared.serving.service import Call, Endpoint


async def get_summary_history(call: Call[Stores]) -> Fragment:
    return await _history(call, None)


async def get_subject_history(call: Call[Stores]) -> Fragment:
    return await _history(call, subject_of(call.params))


async def compare_summaries(call: Call[Stores]) -> Fragment:
    return await _compared(call, None)


async def compare_periods(call: Call[Stores]) -> Fragment:
    return await _compared(call, subject_of(call.params))


async def _history(call: Call[Stores], subject: Subject | None) -> Fragment:
    query: schemas.HistoryQuery = call.query

    async def made() -> schemas.HistoryOut:
        page = await history.history(
            call.state.relational, call.org_id, subject, query.period_type,
            cursor=query.cursor, limit=query.limit,
        )  # fmt: skip
        return schemas.HistoryOut.of(query.period_type, page)

    return await call.state.answers.of(
        call.org_id, subject, query.period_type, ("history", query), made
    )


async def _compared(call: Call[Stores], subject: Subject | None) -> Fragment:
    query: schemas.CompareQuery = call.query

    async def made() -> schemas.ComparisonOut:
        return schemas.ComparisonOut.of(
            await history.compare(
                call.state.relational, call.org_id, subject, query.period_type,
                query.period_key, query.with_,
            )
        )  # fmt: skip

    return await call.state.answers.of(
        call.org_id, subject, query.period_type, ("comparison", query), made
    )


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "GET", "/api/v1/portrait/summary/history", get_summary_history, "portrait:summary",
        "All users of the organisation together in each period with calls, newest first",
        query=schemas.HistoryQuery, returns=schemas.HistoryOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/summary/compare", compare_summaries, "portrait:summary",
        "All users of the organisation together in two periods, side by side",
        query=schemas.CompareQuery, returns=schemas.ComparisonOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/{dimension}/{subject_id}/history", get_subject_history,
        "portrait:read",
        "The portraits of a user, customer, task or agent in each period with calls, newest first",
        query=schemas.HistoryQuery, returns=schemas.HistoryOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/{dimension}/{subject_id}/compare", compare_periods,
        "portrait:read",
        "Two periods of a user, customer, task or agent, side by side",
        query=schemas.CompareQuery, returns=schemas.ComparisonOut,
    ),
]  # fmt: skip
