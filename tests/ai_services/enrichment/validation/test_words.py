from __future__ import annotations

import polars as pl
import pytest

from ai_services.enrichment.validation.words import levels, likely_status, statuses


def status(text: str) -> str | None:
    [found] = statuses(pl.Series([text]))
    assert found is None or isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("words", "means"),
    [
        ("ANSWERED answered Answered ANSWER Connected completed 已接通 接通 已接听", "connected"),
        ("BUSY USER_BUSY user-busy 占线 用户忙 忙线", "busy"),
        (
            "NO_ANSWER NOANSWER no-answer No.Answer Unanswered not_answered 无人接听 未接",
            "no_answer",
        ),
        ("power_off POWERED-OFF 关机 已关机", "power_off"),
        ("UNALLOCATED_NUMBER INVALID_NUMBER_FORMAT 空号 号码不存在", "invalid_number"),
        ("CALL_REJECTED Declined 拒接 用户拒接", "rejected"),
        ("FAILED CONGESTION CHANUNAVAIL 呼叫失败", "failed"),
    ],
)
def test_switches_and_consoles_are_understood(words: str, means: str) -> None:
    assert {status(word) for word in words.split()} == {means}
    assert status("NO ANSWER") == "no_answer"


@pytest.mark.parametrize(
    "word",
    [
        "not_connected",
        "not connected",
        "disconnected",
        "unconnected",
        "未接通",
        "canceled",
        "停机",
        "SALE",
    ],
)
def test_what_may_mean_several_is_left_alone(word: str) -> None:
    assert status(word) == word.lower()
    assert likely_status(word) != "connected"


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("conected", "connected"), ("Answerd", "connected"), ("no_anser", "no_answer"), ("bussy", "busy"),
     ("not_conected", None), ("unanswerd", "no_answer"), ("disconected", None), ("xyz", None)],
)  # fmt: skip
def test_a_slip_is_met_with_what_was_meant_never_with_its_opposite(
    slip: str, meant: str | None
) -> None:
    assert likely_status(slip) == meant


@pytest.mark.parametrize(
    ("text", "level"),
    [("a", "A"), ("B级", "B"), ("Ｃ", "C"), ("意向D", "D"), ("E类客户", "E"), ("Level F", "F"), ("A (high)", "A"),
     ("a级（高意向）", "A"), ("G", "G"), ("AB", "AB"), ("A+", "A+"), ("无", "无"), ("5", "5")],
)  # fmt: skip
def test_levels_are_their_letters(text: str, level: str) -> None:
    assert levels(pl.Series([text])).to_list() == [level]
