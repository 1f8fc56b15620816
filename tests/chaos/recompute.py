"""Portraits of listed calls, computed here from their definition and compared with the answers.

Shares no code with the platform.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

Calls = Sequence[dict[str, Any]]
Key = tuple[str, str, str]  # user, period type, period key

ZONE = ZoneInfo("Asia/Shanghai")


def periods(moment: dt.datetime) -> list[tuple[str, str]]:
    day = moment.astimezone(ZONE).date()
    year, week, _ = day.isocalendar()
    return [
        ("week", f"{year}-W{week:02}"),
        ("month", f"{day:%Y-%m}"),
        ("quarter", f"{day.year}-Q{(day.month + 2) // 3}"),
    ]


def by_portrait(calls: Calls) -> dict[Key, list[dict[str, Any]]]:
    """The calls of each user's portrait in each period."""
    found: defaultdict[Key, list[dict[str, Any]]] = defaultdict(list)
    for call in calls:
        for period_type, key in periods(dt.datetime.fromisoformat(call["started_at"])):
            found[call["user_id"], period_type, key].append(call)
    return dict(found)


def expected(calls: Calls) -> dict[str, Any]:
    """The figures of a portrait of these calls, under the names of the API's groups."""
    connected = [call for call in calls if call["call_status"] == "connected"]
    failed = [call["call_status"] for call in calls if call["call_status"] != "connected"]
    scores = [c["sentiment_score"] for c in connected if c["sentiment_score"] is not None]
    seconds = sum(call["duration_ms"] for call in connected) / 1000
    rounds = sum(call["rounds"] for call in connected)

    def count(name: str, values: Iterable[Any]) -> dict[Any, int]:
        return {value: sum(call[name] == value for call in connected) for value in values}

    hangups = count("hangup_by", (1, 2))
    return {
        "call_stats": {
            "total_calls": len(calls),
            "connected_calls": len(connected),
            "connect_rate": _ratio(len(connected), len(calls)),
            "total_duration": seconds,
            "avg_duration": _ratio(seconds, len(connected)),
            "total_rounds": rounds,
            "avg_rounds": _ratio(rounds, len(connected)),
        },
        "intention_dist": count("level_name", "ABCDEF"),
        "hangup_dist": {"robot": hangups[1], "user": hangups[2]},
        "fail_reason_dist": {reason: failed.count(reason) for reason in set(failed)},
        "sentiment_analysis": {
            **count("sentiment", ("positive", "neutral", "negative")),
            "avg_score": _ratio(sum(scores), len(scores)),
        },
        "risk_analysis": {
            risk: count(risk, ("low", "medium", "high"))
            for risk in ("complaint_risk", "churn_risk")
        },
    }


def differences(want: Any, got: Any, where: str = "") -> list[str]:
    """Where two documents differ: integers to the bit, other numbers by more than 1e-9."""
    if isinstance(want, dict):
        keys = sorted(want.keys() | got.keys())
        return [
            text
            for key in keys
            for text in differences(want.get(key), got.get(key), f"{where}.{key}")
        ]
    if isinstance(want, float) and isinstance(got, int | float):
        return (
            [] if abs(want - got) <= 1e-9 * max(1.0, abs(want)) else [f"{where}: {got}, not {want}"]
        )
    return [] if want == got else [f"{where}: {got}, not {want}"]


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
