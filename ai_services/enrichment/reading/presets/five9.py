"""Rows of Five9's call log report; `five9.toml` states the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ai_services.enrichment.reading.presets.party import NOBODY, milliseconds, number, text
from shared.calls import CONNECTED

_INBOUND: Final = frozenset({"inbound", "3rd party transfer"})
# What stands in the disposition of a call in which nobody talked.
_DISPOSITIONS: Final = (
    ("busy", "busy"),
    ("operator intercept", "invalid_number"),
    ("declined", "rejected"),
    ("dial error", "failed"),
    ("timeout", "failed"),
    ("fax", "failed"),
)


def five9_call(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row. An agent talked, or else nobody did."""
    agent = text(row, "AGENT").removeprefix("[None]")
    talk = milliseconds(text(row, "TALK TIME"))
    connected = isinstance(talk, int) and talk > 0
    inbound = text(row, "CALL TYPE").lower() in _INBOUND
    return {
        "callid": text(row, "CALL ID"),
        "task_id": text(row, "CAMPAIGN"),
        "user_id": agent or NOBODY,
        "agent_id": agent,
        "phone": number(text(row, "ANI" if inbound else "DNIS")),
        "started_at": text(row, "TIMESTAMP"),
        "duration_ms": milliseconds(text(row, "CALL TIME")),
        "bill_ms": talk if connected or isinstance(talk, str) else 0,
        "call_status": CONNECTED if connected else _status(text(row, "DISPOSITION").lower()),
    }


def _status(disposition: str) -> str:
    return next((status for part, status in _DISPOSITIONS if part in disposition), "no_answer")
