"""The law by which legs are one call. It knows a set of legs: neither their order nor repetition counts.

- **Connected** if any leg is. One queue call rings ten members and is answered by one: it is one
  answered call, not nine missed and one answered.
- **Status** of one that nobody answered: that of the leg that came nearest to a person, by `_NEAREST`.
- **Start** is that of the first leg, **duration** lasts until the last leg ends, ringing and waiting
  included.
- **Talk** (`bill_ms`) is the time in which any connected leg was talked in: the union of their
  intervals, each the last `bill_ms` before its leg ends, not the sum. A switch writes the same minute
  several times, once for the queue, once for the local channel and once for the phone, or for the A
  and the B leg; only legs after one another, as after a transfer, are more talk.
- **Who**: the account of the leg that was answered first (of several at one moment, that which rang
  last: a ring group answers as its member does), or else of the first leg; so for task, customer,
  number and intention, each from the first leg that has it. The agent is that of the first connected
  leg that names one; of a call that nobody answered, the only one that its legs name, if it is one:
  who was rung among others didn't speak.
- **Hang-up**: of the connected leg that ended last and says so.
- **Transcripts** of connected legs follow one another in their order, their times moved to the call's
  start: a leg that came again as one that nobody answered still has what was said before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final

from ai_services.enrichment.legs.leg import MAX_LEGS, Leg
from ai_services.enrichment.validation.record import (
    MAX_MS,
    MAX_ROUNDS,
    MAX_TRANSCRIPT_CHARS,
    MAX_TURNS,
)
from shared.calls import CONNECTED

_NEAREST: Final = ("rejected", "busy", "no_answer", "power_off", "invalid_number", "failed")
_CUSTOMER: Final = "customer"


def chosen(legs: Iterable[Leg]) -> list[Leg]:
    """Each leg once, by start; of more than MAX_LEGS those connected, then those that began first.

    Legs with one id must be equal. What is chosen of a set is chosen of what was chosen of its parts.
    """
    distinct = {leg.leg_id: leg for leg in legs}
    found = sorted(distinct.values(), key=_in_time)
    if len(found) > MAX_LEGS:
        found = sorted(found, key=lambda leg: not leg.connected)[:MAX_LEGS]
        found.sort(key=_in_time)
    return found


def join(legs: Sequence[Leg]) -> dict[str, Any]:
    """The call that legs make: its fields but for `callid`. `legs`: one or more, as `chosen`."""
    answered = sorted((leg for leg in legs if leg.connected), key=_answered)
    speaking = answered + [leg for leg in legs if not leg.connected]
    first, start = speaking[0], legs[0].started_at
    turns = _transcript([leg for leg in legs if leg.connected], start)
    phone = next((leg for leg in speaking if leg.phone_cipher is not None), first)
    return {
        "task_id": _first(speaking, "task_id"),
        "agent_id": _first(answered, "agent_id") if answered else _only_agent(legs),
        "user_id": first.user_id,
        "customer_id": _first(speaking, "customer_id"),
        "started_at": start,
        "duration_ms": min(MAX_MS, _ms(max(leg.ended_at for leg in legs) - start)),
        "bill_ms": min(MAX_MS, _talk_ms(answered)),
        "rounds": min(MAX_ROUNDS, _rounds(answered, turns)),
        "level_name": _first(answered, "level_name"),
        "hangup_by": _hangup(answered),
        "call_status": CONNECTED if answered else _status(legs),
        "phone_cipher": phone.phone_cipher,
        "phone_masked": phone.phone_masked,
        "turns": turns,
    }


def spread_too_far(legs: Sequence[Leg]) -> bool:
    """Whether they lie further apart than any call lasts: they are hardly one call's."""
    return max(leg.ended_at for leg in legs) - legs[0].started_at > _LONGEST


_LONGEST: Final = dt.timedelta(milliseconds=MAX_MS)


def _in_time(leg: Leg) -> tuple[dt.datetime, dt.datetime, str, str]:
    # An id alone differs from organisation to organisation: it is made of what is encrypted.
    return leg.started_at, leg.ended_at, leg.user_id, leg.leg_id


def _answered(leg: Leg) -> tuple[dt.datetime, dt.timedelta, str, str]:
    return leg.talk_from, leg.talk_from - leg.started_at, leg.user_id, leg.leg_id


def _first(legs: Iterable[Leg], name: str) -> Any:
    return next((value for value in map(attrgetter(name), legs) if value is not None), None)


def _only_agent(legs: Iterable[Leg]) -> str | None:
    named = {leg.agent_id for leg in legs if leg.agent_id is not None}
    return named.pop() if len(named) == 1 else None


def _ms(length: dt.timedelta) -> int:
    return length // dt.timedelta(milliseconds=1)


def _talk_ms(answered: Sequence[Leg]) -> int:
    """`answered`: by the moment from which they were talked in."""
    talked = dt.timedelta()
    until: dt.datetime | None = None
    for leg in answered:
        begin = leg.talk_from if until is None else max(leg.talk_from, until)
        if leg.ended_at > begin:
            talked += leg.ended_at - begin
        until = leg.ended_at if until is None else max(until, leg.ended_at)
    return _ms(talked)


def _status(legs: Iterable[Leg]) -> str:
    return min((leg.call_status for leg in legs), key=_NEAREST.index)


def _hangup(answered: Iterable[Leg]) -> int | None:
    told = [leg for leg in answered if leg.hangup_by is not None]
    last = max(told, key=lambda leg: (leg.ended_at, *_in_time(leg)), default=None)
    return None if last is None else last.hangup_by


def _transcript(legs: Iterable[Leg], start: dt.datetime) -> list[dict[str, Any]] | None:
    said = [
        {**turn, "at_ms": _moved(turn.get("at_ms"), _ms(leg.started_at - start))}
        for leg in legs
        for turn in leg.turns or ()
    ]
    lengths = accumulate(len(turn["text"]) for turn in said)
    fitting = sum(length <= MAX_TRANSCRIPT_CHARS for length in lengths)
    return said[: min(fitting, MAX_TURNS)] or None


def _moved(at_ms: int | None, by_ms: int) -> int | None:
    return None if at_ms is None else min(MAX_MS, at_ms + by_ms)


def _rounds(answered: Iterable[Leg], turns: Sequence[dict[str, Any]] | None) -> int:
    """What the rows count, or their transcripts where these have more."""
    counted = sum(leg.rounds for leg in answered)
    spoken = len([turn for turn in turns or () if turn["role"] == _CUSTOMER])
    return max(counted, spoken)
