"""The words of calls, and what of an analysed call others than its service may read.

Calls are the enrichment service's: it checks what comes in against these words, and its table
`call_record_enriched` admits no others. Portraits are counted from that table by the same words.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

CallStatus = Literal[
    "connected", "busy", "no_answer", "power_off", "invalid_number", "rejected", "failed"
]
Level = Literal["A", "B", "C", "D", "E", "F"]  # of intention, from the highest
Sentiment = Literal["positive", "neutral", "negative"]
Risk = Literal["low", "medium", "high"]
HangupBy = Literal[1, 2]

CONNECTED: Final = "connected"
CALL_STATUSES: Final[tuple[CallStatus, ...]] = get_args(CallStatus)
FAIL_REASONS: Final = tuple(status for status in CALL_STATUSES if status != CONNECTED)
INTENTION_LEVELS: Final[tuple[Level, ...]] = get_args(Level)
SENTIMENTS: Final[tuple[Sentiment, ...]] = get_args(Sentiment)
RISKS: Final[tuple[Risk, ...]] = get_args(Risk)
HANGUP_ROBOT: Final = 1
HANGUP_CUSTOMER: Final = 2

# The columns of `call_record_enriched` that stay as they are for who reads them.
ENRICHED_COLUMNS: Final = (
    "org_id",
    "callid",
    "user_id",  # the account whose call it is
    "customer_id",  # who was called
    "task_id",
    "agent_id",  # who spoke for the account
    "call_date",  # local to the organisation's time zone
    "started_at",
    "duration_ms",
    "rounds",
    "level_name",
    "hangup_by",
    "call_status",
    "sentiment",
    "sentiment_score",
    "complaint_risk",
    "churn_risk",
    "reason",
    "analyzer",
    "llm_analyzed_at",
    "degraded",  # a model was to judge it, and hasn't
    "updated_at",  # when it came in or last changed
)
# Likewise of `call_insight`, which has a row for a call that was looked into.
INSIGHT_COLUMNS: Final = (
    "org_id",
    "callid",
    "summary",
    "topic",
    "follow_up",  # null: none is needed
    "callbacks",  # [{"said", "date", "time"}]
    "resolution",
    "evidence",  # [{"turn", "text"}]
)
