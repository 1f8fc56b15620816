"""What dialers keep of what was said, as turns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_services.enrichment.sources.transcripts.spoken import SpokenColumns, turns_of

PLAIN = SpokenColumns()


def said(
    rows: list[tuple[str | None, ...]], how: SpokenColumns = PLAIN
) -> list[tuple[str, Any, str]]:
    turns = turns_of(rows, how)
    return [(one["role"], one.get("at_ms"), one["text"]) for one in json.loads(turns or "[]")]


def test_lines_that_name_the_speaker_are_turns() -> None:
    text = "机器人：您好\n客户: 你好\n请问哪位\n[agent]: Good morning"
    assert said([(text,)]) == [
        ("agent", None, "您好"),
        ("customer", None, "你好"),
        ("customer", None, "请问哪位"),
        ("agent", None, "Good morning"),
    ]


def test_what_nobody_is_named_for_is_the_customers() -> None:
    assert said([("不需要",), ("时间: 三点",)]) == [
        ("customer", None, "不需要"),
        ("customer", None, "时间: 三点"),
    ]
    assert said([("Hello",)], SpokenColumns(speaker="agent")) == [("agent", None, "Hello")]


def test_rows_with_a_role_are_turns() -> None:
    how = SpokenColumns(role="who", at_ms="ms", speakers={"R": "agent"})
    rows = [("您好", "R", "0"), ("好", "客户", "900.4"), ("嗯", "user", None), ("?", "ghost", "-5")]
    assert said(rows, how) == [
        ("agent", 0, "您好"),
        ("customer", 900, "好"),
        ("customer", None, "嗯"),
        ("ghost", 0, "?"),  # refused by the rules of a transcript, which name it
    ]


def test_a_json_list_is_passed_on() -> None:
    text = '[{"role": "agent", "at_ms": 0, "text": "Hi"}]'
    assert turns_of([(text,)], PLAIN) == text


@pytest.mark.parametrize("rows", [[], [(None,)], [("",), (" \n ",)]], ids=["none", "null", "blank"])
def test_nothing_said_is_no_transcript(rows: list[tuple[str | None, ...]]) -> None:
    assert turns_of(rows, PLAIN) is None
