"""Answers of providers, good and otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_services.llm.protocol.answer import (
    believed,
    read_answer,
    read_embeddings_answer,
)
from ai_services.llm.protocol.usage import Usage
from shared.errors import UpstreamError

WORST = Usage(1000, 500)
STATED = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


def answer(*messages: dict[str, Any], reason: str | None = "stop", **rest: Any) -> bytes:
    choices = [
        {"index": place, "message": message, "finish_reason": reason}
        for place, message in enumerate(messages)
    ]
    return json.dumps({"object": "chat.completion", "choices": choices, **rest}).encode()


def test_all_that_was_written_is_found() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
    read = read_answer(
        answer(
            {"role": "assistant", "content": "你好", "reasoning_content": "hm"},
            {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
            {"role": "assistant", "content": [{"type": "text", "text": "part"}]},
            usage=STATED,
        )
    )
    assert [choice.text for choice in read.choices] == ["你好hm", 'find{"a":1}', "part"]
    assert read.text == '你好hm\nfind{"a":1}\npart'
    assert read.usage == STATED
    assert read.choices[0].finish_reason == "stop"
    assert not read.is_refused


def test_a_refusal_and_a_filter_are_told_from_an_answer() -> None:
    refused = {"role": "assistant", "content": None, "refusal": "I can't."}
    assert read_answer(answer(refused)).is_refused
    assert read_answer(answer(refused)).choices[0].refusal == "I can't."
    assert read_answer(answer({"content": ""}, reason="content_filter")).is_refused
    assert not read_answer(answer(refused, {"content": "I can."})).is_refused


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "it is not JSON"),
        (b"<html>", "it is not JSON"),
        (b'{"choices": [', "it is not JSON"),
        (b"[]", "it is not an object"),
        (b"{}", "choices is missing or empty"),
        (b'{"choices": []}', "choices is missing or empty"),
        (b'{"choices": {"message": {}}}', "choices is missing or empty"),
        (b'{"choices": [1]}', "choices.0.message is missing"),
        (b'{"choices": [{"delta": {}}]}', "choices.0.message is missing"),
        (b'{"choices": [{"message": {"content": 5}}]}', "choices.0.message.content is no text"),
        (b'{"choices": [{"message": {}, "finish_reason": 1}]}', "finish_reason is no text"),
        (b'{"error": {"message": "out of luck", "code": "busy"}}', "failed in its answer (busy)"),
        (b'{"error": "out of luck"}', "failed in its answer."),
        (b'{"error": {"code": 5}}', "failed in its answer."),
    ],
)
def test_what_is_no_answer_says_why(body: bytes, said: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        read_answer(body)
    assert said in caught.value.message


def test_a_failure_in_an_answer_is_told_by_its_code_and_not_in_its_words() -> None:
    body = json.dumps({"error": {"message": "you said 138", "code": "c" * 1000}}).encode()
    with pytest.raises(UpstreamError) as caught:
        read_answer(body)
    assert "138" not in caught.value.message
    assert "c" * 60 in caught.value.message
    assert "c" * 61 not in caught.value.message


def test_tool_calls_that_are_no_list_are_none() -> None:
    found = read_answer(answer({"role": "assistant", "content": "x", "tool_calls": 5}))
    assert found.text == "x"


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        (STATED, Usage(100, 50)),
        ({"prompt_tokens": 7, "total_tokens": 7}, Usage(7)),  # embeddings
        ({**STATED, "prompt_tokens_details": {"cached_tokens": 30}}, Usage(100, 50, 30)),
        ({**STATED, "prompt_cache_hit_tokens": 30}, Usage(100, 50, 30)),
        ({**STATED, "cached_tokens": 30}, Usage(100, 50, 30)),
        ({**STATED, "completion_tokens_details": {"reasoning_tokens": 9}}, Usage(100, 50, 0, 9)),
        (
            {**STATED, "prompt_tokens_details": None, "completion_tokens_details": {"x": 1}},
            Usage(100, 50),
        ),
        ({"prompt_tokens": 1000, "completion_tokens": 500}, Usage(1000, 500)),
        (None, "missing"),
        ({}, "missing"),
        ({"prompt_tokens": None, "completion_tokens": 5}, "missing"),
        ([], "malformed"),
        ({**STATED, "prompt_tokens": "100"}, "malformed"),
        ({**STATED, "prompt_tokens": 100.5}, "malformed"),
        ({**STATED, "completion_tokens": True}, "malformed"),
        ({**STATED, "prompt_tokens_details": {"cached_tokens": "x"}}, "malformed"),
        ({**STATED, "prompt_tokens": -1}, "negative"),
        ({**STATED, "completion_tokens": -1}, "negative"),
        ({**STATED, "prompt_tokens_details": {"cached_tokens": -1}}, "negative"),
        ({**STATED, "prompt_tokens": 0}, "absurd"),
        ({**STATED, "prompt_tokens": 1001}, "excessive"),
        ({**STATED, "completion_tokens": 501}, "excessive"),
        ({**STATED, "completion_tokens": 10**30}, "excessive"),
        ({**STATED, "prompt_tokens_details": {"cached_tokens": 101}}, "absurd"),
        ({**STATED, "completion_tokens_details": {"reasoning_tokens": 51}}, "absurd"),
    ],
)
def test_usage_is_believed_or_doubted_for_a_reason(stated, usage) -> None:
    assert believed(stated, WORST, has_text=False) == usage


def test_nothing_is_no_count_of_something() -> None:
    stated = {**STATED, "completion_tokens": 0}
    assert believed(stated, WORST, has_text=True) == "absurd"
    assert believed(stated, WORST, has_text=False) == Usage(100)


def test_vectors_are_as_many_as_were_asked_for() -> None:
    body = json.dumps({"data": [{"index": 0, "embedding": [0.1]}, {"embedding": "AAAA"}]}).encode()
    assert len(read_embeddings_answer(body, 2)["data"]) == 2
    with pytest.raises(UpstreamError, match="the 3 vectors"):
        read_embeddings_answer(body, 3)
    with pytest.raises(UpstreamError, match=r"data\.0\.embedding is missing"):
        read_embeddings_answer(b'{"data": [{"embedding": []}]}', 1)
