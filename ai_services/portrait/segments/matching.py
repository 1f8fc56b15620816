"""Asking a condition of snapshots: how many fulfil it, who for example, who entered and who left.

The statements are constants but for the condition, which `shared.expressions.sql` makes: nothing of it
comes from a user but the values of its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ai_services.portrait.dimension import CUSTOMER, DIMENSIONS, Dimension
from ai_services.portrait.period import PeriodType
from ai_services.portrait.segments.definition import lowered
from ai_services.portrait.segments.fields import FIELDS
from shared.data_access.ports import Transaction
from shared.expressions.terms import Term, fields_of

# A nested loop over ten thousands of members, which a planner without fresh statistics chooses, takes
# minutes where a hash join takes milliseconds.
_PLANNING: Final = "SELECT set_config('enable_nestloop', 'off', true)"
_NEWEST: Final = {
    whose: f"""
    SELECT max(period_key) FROM {whose.snapshots}
    WHERE org_id = $1 AND period_type = $2 AND period_key <= $3
    """  # noqa: S608 - constants only
    for whose in DIMENSIONS
}
_COUNT: Final = {
    whose: f"""
    SELECT count(*) FILTER (WHERE holds) AS size, count(*) FILTER (WHERE holds IS NULL) AS unknown,
           count(*) AS portraits
    FROM (SELECT {{condition}} AS holds FROM {whose.snapshots} s
          WHERE s.org_id = $1 AND s.period_type = $2 AND s.period_key = $3) AS judged
    """  # noqa: S608 - constants only
    for whose in DIMENSIONS
}
_EXAMPLES: Final = {
    whose: f"""
    SELECT s.{whose.column} AS subject{{named}} FROM {whose.snapshots} s
    WHERE s.org_id = $1 AND s.period_type = $2 AND s.period_key = $3 AND {{condition}}
    ORDER BY s.total_calls DESC, s.{whose.column} LIMIT $4
    """  # noqa: S608 - constants only
    for whose in DIMENSIONS
}
# Who left because they were erased, or are another one now, is named to nobody.
_THERE: Final = {
    whose: """WHERE EXISTS (SELECT FROM call_record_enriched c
                            WHERE c.org_id = $1 AND c.customer_id = gone.subject)"""
    if whose is CUSTOMER
    else ""
    for whose in DIMENSIONS
}
_REFRESH: Final = {
    whose: f"""
    WITH fresh AS MATERIALIZED (
        SELECT s.{whose.column} AS subject FROM {whose.snapshots} s
        WHERE s.org_id = $1 AND s.period_type = $2 AND s.period_key = $3 AND {{condition}}
    ), entered AS (
        INSERT INTO segment_member (org_id, segment, subject, since)
        SELECT $1, $4, subject, $5 FROM fresh
        WHERE NOT EXISTS (SELECT FROM segment_member m
                          WHERE m.org_id = $1 AND m.segment = $4 AND m.subject = fresh.subject)
        RETURNING subject
    ), gone AS (
        DELETE FROM segment_member m
        WHERE m.org_id = $1 AND m.segment = $4
            AND NOT EXISTS (SELECT FROM fresh WHERE fresh.subject = m.subject)
        RETURNING subject
    )
    SELECT (SELECT count(*) FROM fresh) AS size,
           (SELECT count(*) FROM entered) AS entered,
           (SELECT count(*) FROM gone) AS gone,
           ARRAY(SELECT subject FROM entered ORDER BY subject LIMIT $6) AS who_entered,
           ARRAY(SELECT subject FROM gone {_THERE[whose]} ORDER BY subject LIMIT $6) AS who_left
    """  # noqa: S608 - constants only
    for whose in DIMENSIONS
}


@dataclass(frozen=True, slots=True)
class Counted:
    """Of `portraits`, how many fulfil a condition, and of how many that isn't known."""

    size: int
    unknown: int
    portraits: int


@dataclass(frozen=True, slots=True)
class Example:
    """One who fulfils it, with the figures that the condition names."""

    subject: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Moved:
    """How many there are now, how many of them are new, how many left; and the first of both by name."""

    size: int
    entered: int
    gone: int
    who_entered: Sequence[str]
    who_left: Sequence[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A condition, of the snapshots of one period."""

    condition: Term
    whose: Dimension
    period_type: PeriodType
    period_key: str


async def newest(
    tx: Transaction, org_id: UUID, whose: Dimension, period_type: PeriodType, last: str
) -> str | None:
    """The newest period with snapshots, no later than `last`."""
    key: str | None = await tx.fetchval(_NEWEST[whose], org_id, period_type, last)
    return key


async def count(tx: Transaction, org_id: UUID, asked: Asked) -> Counted:
    condition = lowered(asked.condition, asked.whose, first=4)
    query = _COUNT[asked.whose].format(condition=condition.text)
    row = await tx.fetchrow(
        query, org_id, asked.period_type, asked.period_key, *condition.parameters
    )
    assert row is not None, "an aggregate without GROUP BY returns a row"
    return Counted(**row)


async def examples(tx: Transaction, org_id: UUID, asked: Asked, limit: int) -> list[Example]:
    """Those with most calls."""
    condition = lowered(asked.condition, asked.whose, first=5)
    names = list(dict.fromkeys(fields_of(asked.condition)))
    columns = FIELDS[asked.whose].sql
    named = "".join(f', {columns[name]} AS "{name}"' for name in names)
    query = _EXAMPLES[asked.whose].format(condition=condition.text, named=named)
    rows = await tx.fetch(
        query, org_id, asked.period_type, asked.period_key, limit, *condition.parameters
    )
    return [Example(row["subject"], {name: row[name] for name in names}) for row in rows]


async def refresh_members(
    tx: Transaction, org_id: UUID, asked: Asked, segment: str, now: datetime, *, named: int
) -> Moved:
    """Make the members those who fulfil the condition; `named` of each kind are told by name."""
    await tx.execute(_PLANNING)
    condition = lowered(asked.condition, asked.whose, first=7)
    query = _REFRESH[asked.whose].format(condition=condition.text)
    row = await tx.fetchrow(
        query,
        org_id,
        asked.period_type,
        asked.period_key,
        segment,
        now,
        named,
        *condition.parameters,
    )
    assert row is not None, "a SELECT without FROM returns a row"
    return Moved(**row)
