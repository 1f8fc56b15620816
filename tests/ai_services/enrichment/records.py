"""Call records for tests, as clients send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TURNS = [
    {"role": "agent", "at_ms": 0, "text": "您好，这里是客服中心。"},
    {"role": "customer", "at_ms": 4000, "text": "你们的服务太差了，我要投诉！"},
    {"role": "agent", "at_ms": 9000, "text": "I am sorry to hear that."},
    {"role": "customer", "at_ms": 15000, "text": "I want to cancel my account."},
]


def record(callid: str = "call-1", **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "callid": callid,
        "task_id": "task-1",
        "agent_id": "agent-1",
        "user_id": "account-1",
        "customer_id": "customer-1",
        "phone": "13812348000",
        "started_at": "2024-12-04T09:30:00+08:00",
        "duration_ms": 65_000,
        "bill_ms": 66_000,
        "rounds": 2,
        "level_name": "B",
        "call_status": "connected",
        "hangup_by": 2,
    }
    return {**base, **changes}


def missed(callid: str, **changes: Any) -> dict[str, Any]:
    """A call that nobody answered."""
    silent = {"duration_ms": 0, "bill_ms": 0, "rounds": 0, "level_name": None, "hangup_by": None}
    return record(callid, **{**silent, "call_status": "no_answer", **changes})


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    return path
