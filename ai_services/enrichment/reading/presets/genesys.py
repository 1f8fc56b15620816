"""Voice interactions of Genesys Cloud; `genesys.toml` states the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ai_services.enrichment.reading.presets.party import NOBODY, number, seconds, text
from ai_services.enrichment.validation.reject import Problem
from shared.calls import CONNECTED, HANGUP_CUSTOMER, HANGUP_ROBOT

_HANGUPS: Final = {
    "client": HANGUP_CUSTOMER,
    "peer": HANGUP_CUSTOMER,
    "endpoint": HANGUP_ROBOT,
    "agent": HANGUP_ROBOT,
    "system": HANGUP_ROBOT,
}


def genesys_call(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """One interaction. What is no call is told and left out."""
    media = text(row, "Media Type")
    if media and media.lower() not in ("voice", "callback"):
        fix = "leave it out, or export interactions of the media type voice"
        return Problem("Media Type", media, "is no call", fix)
    user = text(row, "Users").partition(";")[0].strip()
    outbound = text(row, "Direction").lower().startswith("outbound")
    length, talk = _ms(text(row, "Duration")), _ms(text(row, "Total Talk"))
    connected = bool(user) if talk is None else talk != 0
    return {
        "callid": text(row, "Conversation ID"),
        "task_id": text(row, "Queue").partition(";")[0].strip(),
        "agent_id": user,
        "user_id": user or NOBODY,
        "phone": number(text(row, "DNIS" if outbound else "ANI")),
        "started_at": text(row, "Date"),
        "duration_ms": length,
        "bill_ms": (length if talk is None else talk) if connected else 0,
        "call_status": CONNECTED if connected else "no_answer",
        "hangup_by": _HANGUPS.get(text(row, "Disconnect Type").lower()),
    }


def _ms(written: str) -> int | str | None:
    """Milliseconds, unless they are written out: `00:01:05.123`."""
    if ":" not in written:
        return round(float(written)) if written.replace(".", "", 1).isdecimal() else written or None
    length = seconds(written)
    return written if length is None else round(length * 1000)
