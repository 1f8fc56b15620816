"""Calls of Twilio, parent and child legs joined; `twilio.toml` states the rules."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from ai_services.enrichment.reading.presets.party import NOBODY, milliseconds, number, text
from ai_services.enrichment.validation.reject import Problem
from shared.calls import CONNECTED

_STATUSES: Final = {
    "completed": CONNECTED,
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "no_answer",
    "failed": "failed",
}
_PREFIXES: Final = ("client:", "sip:", "sips:")


def twilio_leg(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """One Call resource."""
    word = text(row, "status").lower()
    status = _STATUSES.get(word)
    if status is None:
        fix = f"leave it out until it is one of {', '.join(_STATUSES)}"
        return Problem("status", word, "is not that of a call that is over", fix)
    length = milliseconds(text(row, "duration"))
    outbound = text(row, "direction").lower().startswith(("outbound", "trunking-originating"))
    ours, theirs = text(row, "from"), text(row, "to")
    if not outbound:
        ours, theirs = theirs, ours
    return {
        "call_group": text(row, "parent_call_sid"),
        "callid": text(row, "sid"),
        "user_id": _account(ours),
        "phone": number(theirs),
        "started_at": _instant(text(row, "start_time")),
        "duration_ms": length,
        "bill_ms": length if status == CONNECTED else 0,
        "call_status": status,
    }


def _account(address: str) -> str:
    """The name in `client:alice`, 1001 of `sip:1001@…`; a number as it is."""
    for prefix in _PREFIXES:
        if address.startswith(prefix):
            return address.removeprefix(prefix).partition("@")[0]
    return address or NOBODY


def _instant(written: str) -> str:
    """RFC 2822, as the API has it; or as exports have it, `2024-03-05 06:20:00 UTC`."""
    try:
        return parsedate_to_datetime(written).isoformat()
    except ValueError:
        return written.removesuffix(" UTC")
