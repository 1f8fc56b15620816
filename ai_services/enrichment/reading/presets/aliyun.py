"""Calls of Alibaba Cloud's contact centre (云呼叫中心); `aliyun.toml` states the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ai_services.enrichment.reading.presets.party import NOBODY, milliseconds, number, text
from ai_services.enrichment.validation.reject import Problem
from shared.calls import CONNECTED, HANGUP_CUSTOMER, HANGUP_ROBOT

_STATUSES: Final = {
    "success": CONNECTED,
    "forwardtooutsidenumber": CONNECTED,
    "noanswer": "no_answer",
    "reject": "rejected",
    "abandonedinqueue": "no_answer",
    "abandonedinring": "no_answer",
    "abandonedinivr": "no_answer",
    "abandonedinvoicenavigator": "no_answer",
    "queuingtimeout": "no_answer",
    "queuingoverflow": "no_answer",
    "queuingfailed": "failed",
    "voicemail": "no_answer",
    "ivrexception": "failed",
}
_HANGUPS: Final = {"agent": HANGUP_ROBOT, "customer": HANGUP_CUSTOMER}


def aliyun_call(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """One call detail record."""
    word = text(row, "ContactDisposition")
    status = _STATUSES.get(word.replace("_", "").lower())
    if status is None:
        fix = "write a ContactDisposition of ListCallDetailRecords, like Success"
        return Problem("ContactDisposition", word, "is not known", fix)
    inbound = text(row, "ContactType").lower() == "inbound"
    length = milliseconds(text(row, "CallDuration"))
    agent = text(row, "AgentIds").partition(",")[0].partition("@")[0].strip()
    return {
        "callid": text(row, "ContactId"),
        "agent_id": agent,
        "user_id": agent or NOBODY,
        "phone": number(text(row, "CallingNumber" if inbound else "CalledNumber")),
        "started_at": text(row, "StartTime"),
        "duration_ms": length,
        "bill_ms": length if status == CONNECTED else 0,
        "call_status": status,
        "hangup_by": _HANGUPS.get(text(row, "ReleaseInitiator").lower()),
    }
