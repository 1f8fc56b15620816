"""Answers with the values back in them, whole and however they are streamed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.llm.privacy.restore import Restorer, StreamRestorer

VALUES = {"[PHONE_1]": "13800138000", "[PHONE_12]": "139 0013 9000", "[EMAIL_1]": "a@b.cn"}
WORDS = st.sampled_from(
    [*VALUES, "[PHONE_", "1]", "[", "]", "[ID_1]", "[[PHONE_1]]", "好", "x1", '"']
)
TEXTS = st.lists(WORDS | st.text(max_size=3), max_size=8).map("".join)
CUTS = st.lists(st.integers(0, 200), max_size=12)


def pieces(text: str, cuts: list[int]) -> list[str]:
    ends = sorted(cut % (len(text) + 1) for cut in cuts)
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


def chunk(delta: dict[str, Any], *, index: int = 0, reason: str | None = None) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def contents(chunks: list[dict[str, Any]], name: str = "content") -> str:
    return "".join(one["choices"][0]["delta"].get(name) or "" for one in chunks)


def arguments(chunks: list[dict[str, Any]], number: int) -> str:
    calls = [call for one in chunks for call in one["choices"][0]["delta"].get("tool_calls") or ()]
    return "".join(one["function"]["arguments"] for one in calls if one["index"] == number)


def test_placeholders_of_the_request_become_values_and_others_stay() -> None:
    restorer = Restorer(VALUES)
    assert restorer.text("call [PHONE_1] or [PHONE_12]") == "call 13800138000 or 139 0013 9000"
    assert restorer.text("[PHONE_2] PHONE_1 [phone_1]") == "[PHONE_2] PHONE_1 [phone_1]"
    assert Restorer({}).text("[PHONE_1]") == "[PHONE_1]"


def test_all_texts_of_an_answer_are_restored() -> None:
    message = {
        "role": "assistant",
        "content": "[PHONE_1]",
        "refusal": None,
        "reasoning_content": "[EMAIL_1]?",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a":"[PHONE_1]"}'}}],
    }
    document = {"id": "1", "choices": [{"index": 0, "message": message}], "usage": {}}
    restored = Restorer(VALUES).answer(document)
    said = restored["choices"][0]["message"]
    assert (said["content"], said["reasoning_content"]) == ("13800138000", "a@b.cn?")
    assert said["tool_calls"][0]["function"]["arguments"] == '{"a":"13800138000"}'
    assert (restored["id"], restored["usage"], said["refusal"]) == ("1", {}, None)
    assert message["content"] == "[PHONE_1]"


@given(TEXTS, CUTS)
def test_a_stream_says_what_the_whole_says(text: str, cuts: list[int]) -> None:
    stream = StreamRestorer(VALUES)
    got = [stream.chunk(chunk({"content": piece})) for piece in pieces(text, cuts)]
    got.append(stream.chunk(chunk({}, reason="stop")))
    assert contents(got) == Restorer(VALUES).text(text)
    assert stream.end() is None


@given(TEXTS, TEXTS, CUTS, CUTS)
def test_each_text_of_a_stream_is_its_own(one: str, other: str, cuts, other_cuts) -> None:
    stream = StreamRestorer(VALUES)
    got = []
    first, second = pieces(one, cuts), pieces(other, other_cuts)
    for place in range(max(len(first), len(second))):
        delta: dict[str, Any] = {}
        if place < len(first):
            delta["content"] = first[place]
        if place < len(second):
            call = {"index": 1, "function": {"arguments": second[place]}}
            delta |= {"reasoning_content": second[place], "tool_calls": [call]}
        got.append(stream.chunk(chunk(delta)))
    got.append(stream.chunk(chunk({}, reason="tool_calls")))
    whole = Restorer(VALUES)
    assert contents(got) == whole.text(one)
    assert contents(got, "reasoning_content") == whole.text(other)
    assert arguments(got, 1) == whole.text(other)


@given(TEXTS, CUTS)
def test_a_stream_that_breaks_off_loses_nothing(text: str, cuts: list[int]) -> None:
    stream = StreamRestorer(VALUES)
    got = [stream.chunk(chunk({"content": piece})) for piece in pieces(text, cuts)]
    rest = stream.end()
    got += [] if rest is None else [rest]
    assert contents(got) == Restorer(VALUES).text(text)
    if rest is not None:
        assert rest["id"] == "1"
        assert rest["choices"][0]["finish_reason"] is None


@given(TEXTS)
def test_no_more_is_held_back_than_may_be_a_placeholder(text: str) -> None:
    held = Restorer(VALUES).held_back(text)
    assert held < max(map(len, VALUES))
    tail = text[len(text) - held :]
    assert not held or any(name.startswith(tail) and name != tail for name in VALUES)


def test_what_can_be_none_goes_on_at_once() -> None:
    stream = StreamRestorer(VALUES)
    assert contents([stream.chunk(chunk({"content": "a[PHONE"}))]) == "a"
    assert contents([stream.chunk(chunk({"content": "S"}))]) == "[PHONES"


def test_choices_are_held_apart_and_end_apart() -> None:
    stream = StreamRestorer(VALUES)
    stream.chunk(chunk({"content": "[PHO"}, index=0))
    stream.chunk(chunk({"content": "[EMAIL_"}, index=1))
    assert contents([stream.chunk(chunk({"content": "1]"}, index=1))]) == "a@b.cn"
    assert contents([stream.chunk(chunk({"content": "NE_1]"}, index=0, reason="stop"))]) == (
        "13800138000"
    )


@pytest.mark.parametrize("delta", [{"content": "x"}, {"content": None}, {}, None])
def test_the_rest_comes_with_the_end_of_its_choice(delta) -> None:
    stream = StreamRestorer(VALUES)
    stream.chunk(chunk({"content": "[PHONE_"}))
    stream.chunk(chunk({"function_call": {"arguments": "[EM"}}))
    last = stream.chunk(chunk(delta, reason="length"))
    said = last["choices"][0]["delta"]
    assert said["content"] == "[PHONE_" + ((delta or {}).get("content") or "")
    assert said["function_call"] == {"arguments": "[EM"}


def test_a_chunk_without_choices_and_a_request_without_values_pass() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 1}}
    assert StreamRestorer(VALUES).chunk(usage) == usage
    given_chunk = chunk({"content": "[PHONE_1"})
    assert StreamRestorer({}).chunk(given_chunk) is given_chunk
    assert StreamRestorer(VALUES).chunk(chunk({"content": "x"})) == chunk({"content": "x"})
