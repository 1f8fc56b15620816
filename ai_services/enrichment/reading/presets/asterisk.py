"""Call detail records of Asterisk and of FreePBX as legs; their TOML files state the rules.

A row names two channels. The account is the extension that the second one rang, or else the one that
dialled; the customer is at the other end. So it is right for calls in and out without being told which
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ai_services.enrichment.reading.presets.party import (
    NOBODY,
    extension,
    milliseconds,
    number,
    peer,
    text,
)
from ai_services.enrichment.validation.reject import Problem
from shared.calls import CALL_STATUSES, CONNECTED

_STATUSES: Final = {
    "ANSWERED": CONNECTED,
    "NO ANSWER": "no_answer",
    "BUSY": "busy",
    "FAILED": "failed",
    "CONGESTION": "failed",
}
# They answer a caller who then waits for a person, or speaks to a machine.
_WAITING: Final = frozenset({"queue", "voicemail"})


def asterisk_leg(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """A row of Master.csv, which begins at `start`, or of the table `cdr`, whose names differ."""
    start = text(row, "start") or text(row, "calldate")
    return _leg(row, start, group=text(row, "linkedid"), own=text(row, "sequence"))


def freepbx_leg(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """A row of FreePBX's table `cdr`: it begins at `calldate`."""
    return _leg(row, text(row, "calldate"), group=text(row, "linkedid"), own=text(row, "sequence"))


def _leg(
    row: Mapping[str, Any], start: str, *, group: str | None, own: str | None
) -> dict[str, Any] | Problem:
    disposition = text(row, "disposition").upper().replace("_", " ")
    status = _STATUSES.get(disposition)
    if status is None:
        known = ", ".join(_STATUSES)
        return Problem("disposition", disposition, "is no disposition", f"write one of {known}")
    if not text(row, "dstchannel") and text(row, "lastapp").lower() in _WAITING:
        status = "no_answer" if status == CONNECTED else status
    assert status in CALL_STATUSES
    called, caller = peer(text(row, "dstchannel")), peer(text(row, "channel"))
    src, dst = text(row, "src"), text(row, "dst")
    account = called or caller or text(row, "accountcode") or extension(src) or NOBODY
    customer = number(src) if called else number(dst) or number(src)
    return {
        "call_group": group,
        "leg_id": own,
        "callid": text(row, "uniqueid"),
        "agent_id": called or caller,
        "user_id": account,
        "phone": customer,
        "started_at": start,
        "duration_ms": milliseconds(text(row, "duration")),
        "bill_ms": milliseconds(text(row, "billsec")) if status == CONNECTED else 0,
        "call_status": status,
    }
