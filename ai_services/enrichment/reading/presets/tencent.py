"""Calls of Tencent Cloud's contact centre (云联络中心); `tencent.toml` states the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ai_services.enrichment.reading.presets.party import NOBODY, milliseconds, number, text
from ai_services.enrichment.validation.reject import Problem
from shared.calls import CONNECTED, HANGUP_CUSTOMER, HANGUP_ROBOT

_STATUSES: Final = {
    "ok": CONNECTED,
    "seatForward": CONNECTED,
    "unconnected": "no_answer",
    "notAnswer": "no_answer",
    "seatGiveUp": "no_answer",
    "ivrGiveUp": "no_answer",
    "waitingGiveUp": "no_answer",
    "ringingGiveUp": "no_answer",
    "noSeatOnline": "no_answer",
    "notWorkTime": "no_answer",
    "ivrEnd": "no_answer",
    "callerCancel": "no_answer",
    "userReject": "rejected",
    "blackList": "rejected",
    "powerOff": "power_off",
    "notInService": "power_off",
    "numberNotExist": "invalid_number",
    "busy": "busy",
    "outOfCredit": "failed",
    "operatorError": "failed",
    "error": "failed",
    "unknown": "failed",
}
_HANGUPS: Final = {"seat": HANGUP_ROBOT, "user": HANGUP_CUSTOMER}
_INBOUND: Final = "0"


def tencent_call(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """One TelCdrInfo."""
    word = text(row, "EndStatusString")
    status = _STATUSES.get(word)
    if status is None:
        fix = f"write one of {', '.join(_STATUSES)}"
        return Problem("EndStatusString", word, "is no status of a call's end", fix)
    length = milliseconds(text(row, "Duration"))
    inbound = text(row, "Direction") == _INBOUND
    seat = _seat(row.get("SeatUser"))
    return {
        "callid": text(row, "SessionId"),
        "task_id": text(row, "SkillGroup"),
        "agent_id": seat,
        "user_id": seat or NOBODY,
        "phone": number(text(row, "Caller" if inbound else "Callee")),
        "started_at": text(row, "Time"),
        "duration_ms": length,
        "bill_ms": length if status == CONNECTED else 0,
        "call_status": status,
        "hangup_by": _HANGUPS.get(text(row, "HungUpSide")),
    }


def _seat(user: object) -> str:
    """The seat's own id, else its name; of a table, the cell."""
    if isinstance(user, Mapping):
        return text(user, "UserId") or text(user, "Mail") or text(user, "Name")
    return "" if user is None else str(user).strip()
