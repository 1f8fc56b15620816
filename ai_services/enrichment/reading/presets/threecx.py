"""Call data records of 3CX; `3cx.toml` states the rules."""

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

_LINES: Final = frozenset({"line", "externalline"})
_PHONE: Final = "extension"
_BY_SOURCE: Final = frozenset({"terminatedbysrc", "src_participant_terminated"})
_BY_TARGET: Final = frozenset({"terminatedbydst", "dst_participant_terminated"})
# What stands in the reason of a call that nobody answered.
_REASONS: Final = (
    ("busy", "busy"),
    ("reject", "rejected"),
    ("declin", "rejected"),
    ("fail", "failed"),
    ("error", "failed"),
)


def threecx_call(row: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """One record. 3CX joins the legs of a call itself, in `chain`."""
    answered = bool(text(row, "time-answered"))
    outbound = text(row, "from-type").lower() not in _LINES
    reason = text(row, "reason-terminated").lower()
    length = milliseconds(text(row, "duration"))
    account = _account(row, outbound=outbound)
    return {
        "callid": text(row, "callid"),
        "agent_id": account if _is_person(row, answered=answered, outbound=outbound) else None,
        "user_id": account or NOBODY,
        "phone": _customer(row, outbound=outbound),
        "started_at": text(row, "time-start"),
        "duration_ms": length,
        "bill_ms": length if answered else 0,
        "call_status": CONNECTED if answered else _status(reason),
        "hangup_by": _hangup(reason, outbound=outbound),
    }


def _account(row: Mapping[str, Any], *, outbound: bool) -> str | None:
    names = ("from-dn", "from-no") if outbound else ("final-dn", "final-number", "to-dn", "to-no")
    return next((found for name in names if (found := extension(text(row, name)))), None)


def _is_person(row: Mapping[str, Any], *, answered: bool, outbound: bool) -> bool:
    """Whether the account is a phone of the house, not a queue, a ring group or a menu."""
    if outbound:
        return text(row, "from-type").lower() == _PHONE
    kind = text(row, "final-type") or text(row, "to-type")
    return answered and kind.lower() == _PHONE


def _customer(row: Mapping[str, Any], *, outbound: bool) -> str | None:
    names = ("dial-no", "to-no", "final-number") if outbound else ("from-no",)
    return next((found for name in names if (found := number(text(row, name)))), None)


def _status(reason: str) -> str:
    return next((status for part, status in _REASONS if part in reason), "no_answer")


def _hangup(reason: str, *, outbound: bool) -> int | None:
    if reason in _BY_SOURCE:
        return HANGUP_ROBOT if outbound else HANGUP_CUSTOMER
    if reason in _BY_TARGET:
        return HANGUP_CUSTOMER if outbound else HANGUP_ROBOT
    return None
