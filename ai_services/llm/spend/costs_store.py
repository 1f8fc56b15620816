"""The query of costs: sums over the ledger by one of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from shared.data_access.ports import Row, Transaction

GroupBy = Literal["day", "model", "purpose", "user", "key"]

# Attempts by somebody who is no user, or no key, are one group: ''.
_KEYS: Final[dict[GroupBy, str]] = {
    "day": "day::text",
    "model": "model",
    "purpose": "purpose",
    "user": "CASE subject_kind WHEN 'user' THEN subject ELSE '' END",
    "key": "CASE subject_kind WHEN 'key' THEN subject ELSE '' END",
}
_QUERIES: Final = {
    group_by: f"""
SELECT key, sum(attempts)::bigint AS attempts, sum(input)::bigint AS input,
       sum(output)::bigint AS output, sum(cached)::bigint AS cached,
       sum(reasoning)::bigint AS reasoning, sum(cost) AS cost, sum(reserved) AS reserved,
       jsonb_object_agg(outcome, attempts) AS outcomes
FROM (SELECT {_KEYS[group_by]} AS key, coalesce(outcome, 'reserved') AS outcome, count(*) AS attempts,
             coalesce(sum(input_tokens) FILTER (WHERE settled_at IS NOT NULL), 0) AS input,
             coalesce(sum(output_tokens) FILTER (WHERE settled_at IS NOT NULL), 0) AS output,
             sum(cached_tokens) AS cached, sum(reasoning_tokens) AS reasoning,
             coalesce(sum(cost), 0) AS cost,
             coalesce(sum(reserved) FILTER (WHERE settled_at IS NULL), 0) AS reserved
      FROM llm_attempts($1, $2::text::date, $3::text::date + 1) GROUP BY 1, 2) AS part
GROUP BY key ORDER BY sum(cost) DESC, key LIMIT $4
"""  # noqa: S608 - constants only
    for group_by in _KEYS
}


@dataclass(frozen=True, slots=True)
class Sums:
    """What attempts come to. Tokens and cost are those settled; `reserved` is still under way.

    `outcomes` counts attempts by theirs, 'reserved' for those that have none yet.
    """

    attempts: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    cost: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    outcomes: dict[str, int] = field(default_factory=dict)


async def today(tx: Transaction, org_id: UUID) -> date:
    """The date it is in the organisation, by the database's clock."""
    day: date = await tx.fetchval("SELECT llm_today($1)", org_id)
    return day


async def attempts_of(tx: Transaction, org_id: UUID, request_id: UUID) -> list[Row]:
    """The attempts of one request of today or yesterday, in their order."""
    return await tx.fetch(
        """
        SELECT provider, model, outcome, source, latency_ms, input_tokens, output_tokens, cost,
               settled_at
        FROM cost_ledgers WHERE org_id = $1 AND day >= llm_today($1) - 1 AND request_id = $2
        ORDER BY started_at
        """,
        org_id,
        request_id,
    )


async def sums(
    tx: Transaction, org_id: UUID, group_by: GroupBy, first: date, last: date, at_most: int
) -> Sequence[tuple[str, Sums]]:
    """(key, sums) of the attempts of these days (both included), the costliest first."""
    # As texts: the driver takes the first and the last date that Python knows for infinity.
    days = (first.isoformat(), last.isoformat())
    rows = await tx.fetch(_QUERIES[group_by], org_id, *days, at_most)
    return [
        (row["key"], Sums(**{name: value for name, value in row.items() if name != "key"}))
        for row in rows
    ]
