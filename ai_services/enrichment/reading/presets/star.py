"""STAR dialogues as call records; `star.toml` states the rule of every field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ai_services.enrichment.validation.record import ROLES
from ai_services.enrichment.validation.reject import Problem
from shared.calls import CONNECTED, HANGUP_CUSTOMER, HANGUP_ROBOT

_HANGUP: Final = {"agent": HANGUP_ROBOT, "customer": HANGUP_CUSTOMER}


def star_call(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """One dialogue; times are in seconds there."""
    start, seconds = row.get("start_unix"), row.get("duration_s")
    if start is None or seconds is None:
        return Problem(
            "started_at",
            "null",
            "the dialogue has no times (start_unix and duration_s are null)",
            "leave it out: a call record needs the time of its start",
        )
    if not isinstance(start, int) or not isinstance(seconds, int):
        return Problem("started_at", str(start), "is not a whole number of seconds", "correct it")
    turns = row.get("turns")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return Problem("turns", str(turns), "is not a list of objects", "correct it")
    spoken = [
        {"role": turn["role"], "at_ms": _milliseconds(turn.get("t")), "text": turn.get("text")}
        for turn in turns
        if turn.get("role") in ROLES
    ]
    tasks = row.get("tasks")
    return {
        "callid": f"star-{row.get('id')}",
        "task_id": tasks[0] if isinstance(tasks, list) and tasks else None,
        "agent_id": row.get("agent"),
        "user_id": row.get("agent"),
        "customer_id": row.get("user"),
        "started_at": start,
        "duration_ms": seconds * 1000,
        "rounds": sum(turn["role"] == "customer" for turn in spoken),
        "call_status": CONNECTED if spoken else "failed",
        "hangup_by": _HANGUP[spoken[-1]["role"]] if spoken else None,
        "turns": spoken,
    }


def _milliseconds(seconds: object) -> object:
    return seconds * 1000 if isinstance(seconds, int | float) else seconds
