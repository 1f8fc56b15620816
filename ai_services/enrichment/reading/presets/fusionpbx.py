"""Call detail records of FusionPBX as legs; `fusionpbx.toml` states the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ai_services.enrichment.reading.presets.party import (
    NOBODY,
    extension,
    milliseconds,
    number,
    text,
)
from ai_services.enrichment.validation.reject import Problem
from shared.calls import CONNECTED, HANGUP_CUSTOMER, HANGUP_ROBOT

_STATUSES: Final = {
    "answered": CONNECTED,
    "no_answer": "no_answer",
    "missed": "no_answer",
    "cancelled": "no_answer",
    "voicemail": "no_answer",
    "busy": "busy",
    "failed": "failed",
}


def fusionpbx_leg(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """A row of the export, or of the table v_xml_cdr."""
    word = text(row, "status").lower()
    status = _STATUSES.get(word)
    if status is None:
        return Problem("status", word, "is no status", f"write one of {', '.join(_STATUSES)}")
    outbound = text(row, "direction") == "outbound"
    source, target = text(row, "caller_id_number"), text(row, "destination_number")
    inside, outside = (source, target) if outbound else (target, source)
    own, bridged = text(row, "xml_cdr_uuid"), text(row, "bridge_uuid")
    return {
        "call_group": min(own, bridged) if bridged else own,
        "callid": own,
        "agent_id": text(row, "extension"),
        "user_id": text(row, "extension") or extension(inside) or NOBODY,
        "phone": number(outside),
        "started_at": text(row, "start_epoch"),
        "duration_ms": _length(row),
        "bill_ms": milliseconds(text(row, "billsec")) if status == CONNECTED else 0,
        "call_status": status,
        "hangup_by": _hangup(row, outbound=outbound),
    }


def _length(row: Mapping[str, Any]) -> object:
    """Talk, and what went before it (`tta`): the export calls the talk alone `duration`."""
    talked = milliseconds(text(row, "billsec"))
    waited = milliseconds(text(row, "tta"))
    if not isinstance(talked, int) or not isinstance(waited, int):
        return talked
    return talked + waited


def _hangup(row: Mapping[str, Any], *, outbound: bool) -> int | None:
    """Whoever is at the end of this leg hung up if a BYE came from there; else the other side did."""
    disposition = text(row, "sip_hangup_disposition")
    if disposition not in ("recv_bye", "send_bye"):
        return None
    customers = outbound == (text(row, "leg") == "b")
    came = disposition == "recv_bye"
    return HANGUP_CUSTOMER if came == customers else HANGUP_ROBOT
