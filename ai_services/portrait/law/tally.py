"""What is counted of a call, and what follows from sums of that: the law of all portraits, as SQL.

A source of calls is a relation with the columns `sign` and CALL_FACTS. A full recomputation takes
`STANDING`, the calls as they are less what of them is still to be counted; counting takes what happened to
calls (portrait_change). Both add up the same signed amounts, so a portrait is the same sum by either
way. The text is put together from the constants below, never from input.

Nothing depends on the order of rows: durations are added as milliseconds, sentiment scores as
integers of 2^-36, an error below 10^-11 each, of which a snapshot holds 134 million.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ai_services.portrait.period import PeriodType
from shared.calls import (
    CONNECTED,
    FAIL_REASONS,
    HANGUP_CUSTOMER,
    HANGUP_ROBOT,
    INTENTION_LEVELS,
    RISKS,
    SENTIMENTS,
)

# Of the change log by name; of a call by the expression.
CALL_FACTS: Final = {
    **{
        column: column
        for column in (
            "user_id", "customer_id", "task_id", "agent_id", "call_date", "started_at",
            "duration_ms", "rounds", "level_name", "hangup_by", "call_status", "sentiment",
            "sentiment_score", "complaint_risk", "churn_risk",
        )
    },
    "analysed": "llm_analyzed_at IS NOT NULL",
    "degraded": "degraded",
}  # fmt: skip

# 0001-01-01 is a Monday. Integer steps from it: several times faster than date_trunc per row.
START_OF: Final[dict[PeriodType, str]] = {
    "week": "date '0001-01-01' + (call_date - date '0001-01-01') / 7 * 7",
    "month": "date_trunc('month', call_date::timestamp)::date",
    "quarter": "date_trunc('quarter', call_date::timestamp)::date",
}

CONNECTED_CALL: Final = f"call_status = '{CONNECTED}'"
_SCORE_UNIT: Final = 2**36
_CONDITIONS: Final = {
    **{f"level_{level.lower()}_count": f"level_name = '{level}'" for level in INTENTION_LEVELS},
    "robot_hangup_count": f"hangup_by = {HANGUP_ROBOT}",
    "user_hangup_count": f"hangup_by = {HANGUP_CUSTOMER}",
    **{f"{mood}_count": f"sentiment = '{mood}'" for mood in SENTIMENTS},
    **{
        f"{level}_{risk}_risk": f"{risk}_risk = '{level}'"
        for risk in ("complaint", "churn")
        for level in RISKS
    },
    "scored_calls": "sentiment_score IS NOT NULL",
    "analysed_calls": "analysed",
    "degraded_calls": "degraded",
}
_AMOUNTS: Final = {
    "duration_ms": "duration_ms",
    "total_rounds": "rounds",
    "score_units": f"(sentiment_score * {_SCORE_UNIT})::bigint",
}

# What one call adds, or with sign -1 takes away. Facts of a call that was not connected don't count.
ADDED: Final = {
    "total_calls": "sign",
    "connected_calls": f"CASE WHEN {CONNECTED_CALL} THEN sign ELSE 0 END",
    **{
        column: f"CASE WHEN {CONNECTED_CALL} THEN sign * coalesce({amount}, 0) ELSE 0 END"
        for column, amount in _AMOUNTS.items()
    },
    **{
        column: f"CASE WHEN {CONNECTED_CALL} AND {condition} THEN sign ELSE 0 END"
        for column, condition in _CONDITIONS.items()
    },
    **{
        f"{reason}_count": f"CASE WHEN call_status = '{reason}' THEN sign ELSE 0 END"
        for reason in FAIL_REASONS
    },
}


def listed(columns: Iterable[str], form: str = "{}") -> str:
    return ", ".join(form.format(column) for column in columns)


AMOUNTS: Final = ", ".join(f"{amount} AS {column}" for column, amount in ADDED.items())
SUMS: Final = listed(ADDED, "sum({0})::bigint AS {0}")

# The columns of a snapshot: those that add up, each by what it is in terms of SUMS, and those that follow
# from them, as templates over them. `derived` fills these in.
ADDITIVE: Final = {
    **{column: column for column in ADDED if column != "duration_ms"},
    "total_duration": "(duration_ms / 1000.0)::numeric(20, 3)",
}
_REASONS: Final = listed(FAIL_REASONS, "'{0}', nullif({{{0}_count}}, 0)")
FOLLOWING_SUMS: Final = {  # of an organisation as well
    "sentiment_score_sum": f"({{score_units}})::float8 / {_SCORE_UNIT}",
    "fail_reason_dist": f"CASE WHEN {{connected_calls}} = {{total_calls}} THEN '{{{{}}}}' "
    f"ELSE jsonb_strip_nulls(jsonb_build_object({_REASONS})) END",
}
FOLLOWING: Final = {
    **FOLLOWING_SUMS,
    "connect_rate": "({connected_calls})::float8 / nullif({total_calls}, 0)",
    "avg_duration": "({total_duration})::float8 / nullif({connected_calls}, 0)",
    "avg_rounds": "({total_rounds})::float8 / nullif({connected_calls}, 0)",
    "avg_sentiment_score": f"({{score_units}})::float8 / {_SCORE_UNIT} / nullif({{scored_calls}}, 0)",
}


def derived(template: str, form: str = "{}") -> str:
    """A column that follows, of additive columns written as `form` says: `s.{0} + excluded.{0}`."""
    return template.format(**{column: form.format(column) for column in ADDITIVE})


AS_STORED: Final = ", ".join(f"{amount} AS {column}" for column, amount in ADDITIVE.items())
_FACTS_OF_A_CALL: Final = ", ".join(f"{fact} AS {name}" for name, fact in CALL_FACTS.items())

# The calls of $1 from $6 to $7, less what of them the log still holds: exactly what is counted.
STANDING: Final = f"""
    SELECT 1 AS sign, {_FACTS_OF_A_CALL}
    FROM call_record_enriched WHERE org_id = $1 AND call_date BETWEEN $6 AND $7
    UNION ALL
    SELECT -sign, {listed(CALL_FACTS)}
    FROM portrait_change WHERE org_id = $1 AND call_date BETWEEN $6 AND $7
"""  # noqa: S608 - constants only
