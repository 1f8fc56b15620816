"""The law by which legs are one call, on values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.legs.join import chosen, join, spread_too_far
from ai_services.enrichment.legs.leg import MAX_LEGS, Leg
from ai_services.enrichment.validation.record import MAX_MS
from shared.calls import CALL_STATUSES, CONNECTED

T0 = datetime(2024, 3, 5, 6, 20, tzinfo=UTC)
MINUTE = 60_000


def leg(leg_id: str = "a", at_s: float = 0, **said: Any) -> Leg:
    """One that nobody answered, unless said."""
    nothing = dict.fromkeys(Leg._fields)
    silent = {"duration_ms": 0, "bill_ms": 0, "rounds": 0, "call_status": "no_answer"}
    known = {"leg_id": leg_id, "user_id": "u-1", "started_at": T0 + timedelta(seconds=at_s)}
    return Leg(**{**nothing, **silent, **known, **said})


def talk(leg_id: str, at_s: float, lasts_s: float, talked_s: float, **said: Any) -> Leg:
    lengths = {"duration_ms": int(lasts_s * 1000), "bill_ms": int(talked_s * 1000)}
    return leg(leg_id, at_s, call_status=CONNECTED, **lengths, **said)


def test_one_leg_is_its_call() -> None:
    only = talk("a", 0, 73, 65, hangup_by=2, level_name="B", rounds=3, customer_id="k-1")
    call = join(chosen([only]))
    assert all(call[name] == getattr(only, name) for name in call)


def test_a_queue_that_rings_many_and_is_answered_by_one_is_one_answered_call() -> None:
    rung = {"at_s": 5, "duration_ms": 8_000}
    ringing = [leg(f"r{n}", user_id=f"60{n}", agent_id=f"60{n}", **rung) for n in range(4)]
    answer = talk("x", 5, 73, 65, user_id="604", agent_id="604", hangup_by=2)
    call = join(chosen([*ringing, talk("queue", 0, 78, 77), answer]))
    assert call["agent_id"] == "604"
    call = join(chosen([*ringing, answer]))
    assert (call["call_status"], call["user_id"], call["bill_ms"]) == (CONNECTED, "604", 65_000)
    assert (call["started_at"], call["duration_ms"]) == (answer.started_at, 73_000)


def test_the_agent_of_a_call_is_who_spoke() -> None:
    """Who was rung and didn't answer is not, nor is anybody of several who were."""
    rung = [leg("a", agent_id="ann"), leg("b", agent_id="bob")]
    assert join(chosen(rung))["agent_id"] is None
    assert join(chosen([rung[0], leg("c", 9, agent_id="ann"), leg("d")]))["agent_id"] == "ann"
    assert join(chosen([*rung, talk("ivr", 0, 9, 8)]))["agent_id"] is None
    passed_on = [talk("x", 10, 40, 30, agent_id="ann"), talk("y", 50, 60, 50, agent_id="bob")]
    assert join(chosen([*rung, *passed_on]))["agent_id"] == "ann"


def test_what_is_talked_at_once_is_talked_once() -> None:
    """The queue, the local channel and the phone each have a row of the same minute."""
    rows = [talk("q", 0, 70, 60), talk("l", 5, 65, 60), talk("p", 8, 62, 60)]
    assert join(chosen(rows))["bill_ms"] == MINUTE


def test_what_is_talked_after_a_transfer_is_more_talk() -> None:
    rows = [talk("a", 0, 40, 30), talk("b", 40, 60, 50), talk("c", 95, 15, 10)]
    call = join(chosen(rows))
    assert call["bill_ms"] == 30_000 + 50_000 + 10_000
    assert call["duration_ms"] == 110_000


def test_the_account_is_whose_leg_was_answered_first() -> None:
    """Which need not be the one that began first."""
    late = talk("a", 0, 100, 20, user_id="second")
    early = talk("b", 10, 50, 45, user_id="first")
    assert join(chosen([late, early]))["user_id"] == "first"


def test_who_hung_up_is_told_by_the_leg_that_ended_last() -> None:
    rows = [
        talk("a", 0, 40, 30, hangup_by=1),
        talk("b", 40, 60, 50, hangup_by=2),
        talk("c", 90, 20, 9),
    ]
    assert join(chosen(rows))["hangup_by"] == 2


@pytest.mark.parametrize(
    ("statuses", "one"),
    [
        (("failed", "no_answer", "busy"), "busy"),
        (("no_answer", "rejected", "busy"), "rejected"),
        (("failed", "no_answer"), "no_answer"),
        (("failed", "invalid_number", "power_off"), "power_off"),
        (("failed", "invalid_number"), "invalid_number"),
    ],
)
def test_a_call_that_nobody_answered_ended_as_its_leg_nearest_to_a_person(
    statuses: tuple[str, ...], one: str
) -> None:
    legs = [leg(str(n), call_status=status) for n, status in enumerate(statuses)]
    call = join(chosen(legs))
    assert (call["call_status"], call["bill_ms"], call["hangup_by"]) == (one, 0, None)


def test_transcripts_follow_one_another_in_the_time_of_the_call() -> None:
    said = [{"role": "customer", "at_ms": 500, "text": "喂"}, {"role": "agent", "text": "您好"}]
    call = join(chosen([talk("b", 40, 60, 50, turns=said[:1]), talk("a", 0, 40, 30, turns=said)]))
    assert [(turn["at_ms"], turn["text"]) for turn in call["turns"]] == [
        (500, "喂"), (None, "您好"), (40_500, "喂"),
    ]  # fmt: skip
    assert call["rounds"] == 2


def test_legs_of_different_days_are_hardly_one_call() -> None:
    legs = chosen([talk("a", 0, 40, 30), talk("b", 3 * 86_400, 40, 30)])
    assert spread_too_far(legs)
    assert join(legs)["duration_ms"] == MAX_MS
    assert not spread_too_far(legs[:1])


def test_of_legs_without_end_those_that_were_answered_stay() -> None:
    ringing = [leg(f"r{n:05d}", n) for n in range(MAX_LEGS)]
    answer = talk("x", MAX_LEGS, 73, 65)
    kept = chosen([*ringing, answer])
    assert len(kept) == MAX_LEGS
    assert answer in kept
    assert ringing[-1] not in kept
    # In parts it is the same.
    assert chosen([*chosen([*ringing[10:], answer]), *ringing[:10]]) == kept


_TURN = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["customer", "agent"]),
        "at_ms": st.none() | st.integers(0, MAX_MS),
        "text": st.text(max_size=5),
    }
)


@st.composite
def legs_of_a_call(draw: st.DrawFn) -> list[Leg]:
    found = []
    for number in range(draw(st.integers(1, 8))):
        status = draw(st.sampled_from(CALL_STATUSES))
        connected = status == CONNECTED
        found.append(
            leg(
                f"leg-{number}",
                draw(st.integers(0, 600)),
                call_status=status,
                duration_ms=draw(st.integers(0, 200_000)),
                bill_ms=draw(st.integers(0, 200_000)) if connected else 0,
                user_id=draw(st.sampled_from(["601", "602", "603"])),
                agent_id=draw(st.sampled_from([None, "ann", "bob"])),
                customer_id=draw(st.none() | st.just("k-1")),
                hangup_by=draw(st.sampled_from([None, 1, 2])) if connected else None,
                level_name=draw(st.sampled_from([None, "A", "F"])) if connected else None,
                turns=draw(st.none() | st.lists(_TURN, max_size=3)) if connected else None,
            )
        )
    return found


@given(legs_of_a_call(), st.data())
def test_neither_order_nor_repetition_nor_batching_counts(
    legs: list[Leg], data: st.DataObject
) -> None:
    whole = join(chosen(legs))
    again = data.draw(st.permutations([*legs, *data.draw(st.lists(st.sampled_from(legs)))]))
    cut = data.draw(st.integers(0, len(again)))
    kept = chosen(again[:cut]) if cut else []
    assert join(chosen([*kept, *again[cut:]])) == whole


@given(legs_of_a_call())
def test_a_call_holds_together(legs: list[Leg]) -> None:
    call = join(chosen(legs))
    answered = [one for one in legs if one.call_status == CONNECTED]
    assert (call["call_status"] == CONNECTED) == bool(answered)
    talked = [one.bill_ms for one in answered]
    assert max(talked, default=0) <= call["bill_ms"] <= sum(talked)
    assert call["duration_ms"] >= max(one.duration_ms for one in legs)
    assert call["user_id"] in {one.user_id for one in answered or legs}
