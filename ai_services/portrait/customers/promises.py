"""What was promised to a customer and is still to be done, from calls and what was found in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from ai_services.portrait.customers.store import CustomerCall
from shared.calls import CONNECTED


@dataclass(frozen=True, slots=True)
class Promise:
    """`due` and `time` are local, as they were said; None where no day or time was named."""

    kind: Literal["callback", "follow_up"]
    callid: str
    made_at: datetime
    text: str
    due: date | None = None
    time: str | None = None


def open_promises(calls: Sequence[CustomerCall]) -> list[Promise]:
    """Of calls newest first: promises that no later connected call has kept, newest first.

    A follow-up is done once somebody spoke with the customer again; a callback for a day only by a
    call on that day or later.
    """
    found: list[Promise] = []
    spoken: date | None = None  # the newest day on which they spoke, later than the call at hand
    for call in calls:
        if call.follow_up and spoken is None:
            found.append(Promise("follow_up", call.callid, call.started_at, call.follow_up))
        found += [
            promise
            for promise in _callbacks(call)
            if spoken is None or (promise.due is not None and spoken < promise.due)
        ]
        if call.call_status == CONNECTED and spoken is None:
            spoken = call.local.date()
    return found


def _callbacks(call: CustomerCall) -> Iterator[Promise]:
    for said in call.callbacks:
        if isinstance(said, dict):
            yield Promise(
                "callback", call.callid, call.started_at, str(said.get("said") or ""),
                _day(said.get("date")), said.get("time") or None,
            )  # fmt: skip


def _day(text: Any) -> date | None:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        return None
