"""When the calls of a period were, and how long: what doesn't follow from the sums of a snapshot.

Of users, tasks, agents and the organisation it is merged from days as they are counted; a customer has few
calls, which are read themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import CUSTOMER, ORGANISATION, Subject
from ai_services.portrait.law.durations import BUCKET, middle_ms
from ai_services.portrait.period import Period
from shared.calls import CONNECTED
from shared.data_access.ports import Row, Transaction

Hours = tuple[tuple[int, ...], ...]  # [weekday, Monday first][hour]

_HOURS: Final = """
SELECT extract(isodow FROM call_date)::int - 1 AS weekday, hour, sum(calls)::bigint AS calls,
       sum(connected)::bigint AS connected
FROM portrait_hour
WHERE org_id = $1 AND dimension = $2 AND subject = $3 AND call_date BETWEEN $4 AND $5 AND calls > 0
GROUP BY 1, 2
"""
_DAYS: Final = """
SELECT count(DISTINCT call_date) AS days, max(call_date) AS last_day FROM portrait_hour
WHERE org_id = $1 AND dimension = $2 AND subject = $3 AND call_date BETWEEN $4 AND $5 AND calls > 0
"""
_DURATIONS: Final = """
SELECT bucket, sum(calls)::bigint AS calls FROM portrait_duration
WHERE org_id = $1 AND dimension = $2 AND subject = $3 AND call_date BETWEEN $4 AND $5 AND calls > 0
GROUP BY bucket
"""
_LAST: Final = {
    "user": """
        SELECT max(started_at) FROM call_record_enriched
        WHERE org_id = $1 AND user_id = $2 AND call_date = $3
            AND started_at BETWEEN $3::date - interval '2 days' AND $3::date + interval '3 days'
        """,
    "task": """
        SELECT max(started_at) FROM call_record_enriched
        WHERE org_id = $1 AND task_id = $2 AND call_date = $3
        """,
    "agent": """
        SELECT max(started_at) FROM call_record_enriched
        WHERE org_id = $1 AND agent_id = $2 AND call_date = $3
        """,
    "organisation": """
        SELECT max(started_at) FROM call_record_enriched
        WHERE org_id = $1 AND $2 = '' AND call_date = $3
        """,
}
_OF_CUSTOMER: Final = f"""
SELECT call_date, started_at, call_status = '{CONNECTED}' AS connected,
       extract(hour FROM started_at AT TIME ZONE o.timezone)::int AS hour, {BUCKET} AS bucket
FROM call_record_enriched c JOIN organisation o USING (org_id)
WHERE c.org_id = $1 AND c.customer_id = $2 AND c.call_date BETWEEN $3 AND $4
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class Distribution:
    """`calls` and `connected` by weekday and local hour; percentiles in seconds, within 1/128, over
    connected calls, None without any; `days` are those with calls.
    """

    calls: Hours
    connected: Hours
    p50_duration: float | None
    p90_duration: float | None
    days: int
    last_call_at: datetime | None


async def distribution_of(
    tx: Transaction, org_id: UUID, subject: Subject, period: Period
) -> Distribution:
    """Of a subject that has no calls in the period, zeros and None. ORGANISATION's id is ''."""
    if subject.dimension is CUSTOMER:
        return _of_calls(await tx.fetch(_OF_CUSTOMER, org_id, subject.id, period.start, period.end))
    name, who = subject.dimension.name, "" if subject.dimension is ORGANISATION else subject.id
    values = (org_id, name, who, period.start, period.end)
    hours = await tx.fetch(_HOURS, *values)
    days = await tx.fetchrow(_DAYS, *values)
    assert days is not None  # an aggregate without GROUP BY returns a row
    durations = await tx.fetch(_DURATIONS, *values)
    last = days["last_day"] and await tx.fetchval(_LAST[name], org_id, who, days["last_day"])
    calls = {(row["weekday"], row["hour"]): row["calls"] for row in hours}
    connected = {(row["weekday"], row["hour"]): row["connected"] for row in hours}
    buckets = {row["bucket"]: row["calls"] for row in durations}
    return _distribution(calls, connected, buckets, days["days"], last)


def _of_calls(rows: Sequence[Row]) -> Distribution:
    calls: dict[tuple[int, int], int] = {}
    connected: dict[tuple[int, int], int] = {}
    buckets: dict[int, int] = {}
    for row in rows:
        place = row["call_date"].weekday(), row["hour"]
        calls[place] = calls.get(place, 0) + 1
        if row["connected"]:
            connected[place] = connected.get(place, 0) + 1
            buckets[row["bucket"]] = buckets.get(row["bucket"], 0) + 1
    days = len({row["call_date"] for row in rows})
    last = max((row["started_at"] for row in rows), default=None)
    return _distribution(calls, connected, buckets, days, last)


def _distribution(
    calls: Mapping[tuple[int, int], int],
    connected: Mapping[tuple[int, int], int],
    buckets: Mapping[int, int],
    days: int,
    last: datetime | None,
) -> Distribution:
    return Distribution(
        _grid(calls), _grid(connected), _percentile(buckets, 0.5), _percentile(buckets, 0.9),
        days, last,
    )  # fmt: skip


def _grid(counts: Mapping[tuple[int, int], int]) -> Hours:
    return tuple(tuple(counts.get((day, hour), 0) for hour in range(24)) for day in range(7))


def _percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """Seconds below or at which at least this share of the calls lie."""
    rank = share * sum(buckets.values())
    below = 0
    for bucket in sorted(buckets):
        below += buckets[bucket]
        if below >= rank:
            return middle_ms(bucket) / 1000
    return None
