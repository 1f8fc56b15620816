"""When the calls of a period were, and how long: what doesn't follow from the sums of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import DIMENSIONS, ORGANISATION, Subject
from ai_services.portrait.period import Period
from shared.calls import CONNECTED
from shared.data_access.ports import Transaction

Hours = tuple[tuple[int, ...], ...]  # [weekday, Monday first][hour]

_WHOSE: Final = {
    **{whose: f"c.{whose.column} = $2" for whose in DIMENSIONS},
    ORGANISATION: "$2 = ''",
}
_HOURS: Final = {
    whose: f"""
        SELECT extract(isodow FROM c.call_date)::int - 1 AS weekday,
               extract(hour FROM c.started_at AT TIME ZONE o.timezone)::int AS hour,
               count(*) AS calls,
               count(*) FILTER (WHERE c.call_status = '{CONNECTED}') AS connected
        FROM call_record_enriched c JOIN organisation o USING (org_id)
        WHERE c.org_id = $1 AND {_WHOSE[whose]} AND c.call_date BETWEEN $3 AND $4
        GROUP BY 1, 2
        """  # noqa: S608 - constants only
    for whose in _WHOSE
}
_FACTS: Final = {
    whose: f"""
        SELECT count(DISTINCT c.call_date) AS days, max(c.started_at) AS last_call_at,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY c.duration_ms)
                   FILTER (WHERE c.call_status = '{CONNECTED}') / 1000.0 AS p50,
               percentile_disc(0.9) WITHIN GROUP (ORDER BY c.duration_ms)
                   FILTER (WHERE c.call_status = '{CONNECTED}') / 1000.0 AS p90
        FROM call_record_enriched c
        WHERE c.org_id = $1 AND {_WHOSE[whose]} AND c.call_date BETWEEN $3 AND $4
        """  # noqa: S608 - constants only
    for whose in _WHOSE
}


@dataclass(frozen=True, slots=True)
class Distribution:
    """`calls` and `connected` by weekday and local hour; percentiles in seconds over connected calls,
    None without any; `days` are those with calls.
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
    values = (org_id, subject.id, period.start, period.end)
    hours = await tx.fetch(_HOURS[subject.dimension], *values)
    facts = await tx.fetchrow(_FACTS[subject.dimension], *values)
    assert facts is not None, "an aggregate without groups is one row"
    return Distribution(
        _grid({(row["weekday"], row["hour"]): row["calls"] for row in hours}),
        _grid({(row["weekday"], row["hour"]): row["connected"] for row in hours}),
        None if facts["p50"] is None else float(facts["p50"]),
        None if facts["p90"] is None else float(facts["p90"]),
        facts["days"],
        facts["last_call_at"],
    )


def _grid(counts: Mapping[tuple[int, int], int]) -> Hours:
    return tuple(tuple(counts.get((day, hour), 0) for hour in range(24)) for day in range(7))
