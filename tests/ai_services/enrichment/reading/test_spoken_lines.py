from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.reading.turns import Transcript, TurnShape, parse_turns
from ai_services.enrichment.validation.reject import Damage, Problem


def said(text: str, shape: TurnShape | None = None) -> list[tuple[str, int | None, str]]:
    transcript = parse_turns(text, shape or TurnShape())
    assert isinstance(transcript, Transcript), transcript
    return [(turn["role"], turn["at_ms"], turn["text"]) for turn in json.loads(transcript.json)]


TALK = [("agent", None, "您好"), ("customer", None, "我要投诉")]


@pytest.mark.parametrize(
    "text",
    [
        "客服：您好\n客户：我要投诉",
        "客服:您好\r\n客户:我要投诉",
        "坐席： 您好\n\n用户： 我要投诉\n",
        "机器人：您好 客户：我要投诉",
        "AI：您好<br>客户：我要投诉",
        "Agent: 您好\nCustomer: 我要投诉",
        "AGENT：您好\nCUSTOMER：我要投诉",
        "客服1(小王)：您好\n客户(张先生)：我要投诉",
        "坐席001: 您好\n客户: 我要投诉",
        "[客服] 您好\n[客户] 我要投诉",
        "【客服】：您好\n【客户】：我要投诉",
        "2024-03-05 14:20:03 客服：您好\n2024-03-05 14:20:09 客户：我要投诉",
        "客服：您好；客户：我要投诉",
        "- 客服：您好\n- 客户：我要投诉",
    ],
)
def test_a_line_is_a_turn(text: str) -> None:
    assert said(text) == TALK


@pytest.mark.parametrize(
    "text",
    [
        "[00:05] 客服：您好\n[01:10] 客户：我要投诉",
        "00:00:05 客服：您好\n00:01:10 客户：我要投诉",
        "客服(00:05)：您好\n客户(01:10)：我要投诉",
        "客服 00:05：您好\n客户 01:10：我要投诉",
        "[00:05-00:09] 客服：您好\n[01:10-01:20] 客户：我要投诉",
        "客服 0:05\n您好\n客户 1:10\n我要投诉",
        "0:05 客服\n您好\n1:10 客户\n我要投诉",
    ],
)
def test_times_may_stand_before_or_behind(text: str) -> None:
    assert said(text) == [("agent", 5_000, "您好"), ("customer", 70_000, "我要投诉")]


def test_a_line_that_names_nobody_goes_on_with_the_turn() -> None:
    assert said("客服：您好\n请问：有什么事\n客户：他说: 好") == [
        ("agent", None, "您好\n请问：有什么事"),
        ("customer", None, "他说: 好"),
    ]


def test_a_column_map_names_the_roles_of_lines_too() -> None:
    shape = TurnShape(roles={"甲": "agent", "*": "customer"})
    assert said("甲：您好\n乙：我要投诉", shape) == TALK
    assert (
        said("甲：您好\n甲方：我要投诉", TurnShape(roles={"甲": "agent", "甲方": "customer"}))
        == TALK
    )


def test_announcements_are_left_out_and_counted() -> None:
    transcript = parse_turns("系统：欢迎\n客服：您好\nIVR: press 1\n客户：我要投诉")
    assert isinstance(transcript, Transcript)
    assert (transcript.left_out, transcript.customer_turns) == (2, 1)


@pytest.mark.parametrize(
    "text", ["hello", "说话人1：您好", "他说：好", "note: x", "[", "：", "12:30"]
)
def test_what_does_not_say_who_speaks_is_told(text: str) -> None:
    problem = parse_turns(text)
    assert isinstance(problem, Problem)
    assert not isinstance(problem, Damage)
    assert problem.fix


def test_half_a_character_is_damage() -> None:
    assert isinstance(parse_turns("客服：您好\ud83d"), Damage)


words = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=20)


@given(st.lists(st.tuples(st.sampled_from(["客服", "customer"]), words), min_size=1, max_size=8))
def test_what_is_written_comes_back(talk: list[tuple[str, str]]) -> None:
    text = "\n".join(f"{who}：{what}" for who, what in talk)
    sides = {"客服": "agent", "customer": "customer"}
    assert said(text) == [(sides[who], None, what) for who, what in talk]


@pytest.mark.parametrize("text", ["客服：" + " " * 200_000 + "x", "[" + " " * 200_000, "- " * 100_000,
                                  "<br" * 100_000, "客" * 200_000, "客服 " * 50_000])  # fmt: skip
def test_long_texts_are_read_in_time_that_grows_with_them(text: str) -> None:
    assert parse_turns(text) is not None
