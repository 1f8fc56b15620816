"""Bounds and estimates of tokens."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.llm.protocol.tokens import (
    chat_bound,
    chat_estimate,
    estimate,
    input_bound,
    input_estimate,
    text_bound,
)
from tests.ai_services.llm.protocol.values import JSON, TEXTS


def body(*contents: Any, **rest: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": one} for one in contents], **rest}


@given(TEXTS)
def test_a_bound_holds_for_every_form_of_a_text(text: str) -> None:
    forms = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFKC"))]
    assert text_bound(text) == max(len(form.encode()) for form in forms)


def test_a_character_that_grows_is_counted_as_grown() -> None:
    assert text_bound("\U0001d160") == 12  # NFC takes it apart
    assert text_bound("\ufdfa") == 33


@given(TEXTS)
def test_an_estimate_is_within_the_bound(text: str) -> None:
    assert estimate(text) <= len(text.encode()) <= text_bound(text)
    assert (estimate(text) == 0) <= (text.strip(" ") == "")


CONTENT = TEXTS | st.none() | st.lists(
    TEXTS.map(lambda text: {"type": "text", "text": text}) | JSON
    | st.just({"type": "image_url", "image_url": {"url": "data:,x"}}),
    max_size=3,
)  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {"role": TEXTS}, optional={"content": CONTENT, "name": TEXTS, "tool_calls": JSON}
)


@settings(max_examples=40)
@given(
    st.lists(MESSAGE, max_size=4),
    st.lists(st.dictionaries(TEXTS, JSON, max_size=3), max_size=2),
    JSON,
)
def test_an_estimate_of_a_request_is_within_its_bound(messages, tools, schema) -> None:
    document = {"messages": messages, "tools": tools, "response_format": {"json_schema": schema}}
    bound = chat_bound(document)
    assert 0 < chat_estimate(document) <= bound
    # Whatever of it a template writes as JSON, in any of the usual ways.
    for dumped in (json.dumps(tools, indent=4), json.dumps(tools, ensure_ascii=False)):
        assert bound >= len(dumped.encode())


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_each_text_adds_its_bytes_and_no_message_is_for_nothing(contents: list[str]) -> None:
    lengths = sum(map(text_bound, contents))
    assert chat_bound(body(*contents)) >= lengths + 16 * len(contents) + 96
    assert chat_bound(body(*contents, "x")) > chat_bound(body(*contents))


def test_an_image_counts_the_same_whatever_its_size() -> None:
    def image(size: int) -> dict[str, Any]:
        url = "data:image/png;base64," + "A" * size
        return body([{"type": "image_url", "image_url": {"url": url}}])

    assert chat_bound(image(10)) == chat_bound(image(10**6)) >= 50_000
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 1000}}
    assert chat_bound(body([sound])) >= 51_000


def test_how_a_request_is_sent_adds_nothing_and_what_reaches_the_prompt_does() -> None:
    base = chat_bound(body("x"))
    assert chat_bound(body("x", model="m" * 99, stream=True, metadata={"a": "b"})) == base
    assert chat_bound(body("x", documents=["y" * 99])) >= base + 99
    assert chat_bound(body("x", temperature=0.5)) <= base + 12


@pytest.mark.parametrize("name", ["tools", "functions", "response_format"])
@pytest.mark.parametrize("value", [[[[1] * 999]], ["<中>" * 999], {"a": {"b": "&'" * 999}}])
def test_a_schema_is_bounded_in_whatever_way_a_template_writes_it(name: str, value: Any) -> None:
    written = json.dumps(value, indent=4)
    for one in "<>&'":
        written = written.replace(one, f"\\u{ord(one):04x}")
    assert chat_bound(body("x", **{name: value})) >= len(written.encode())


def test_tool_calls_count() -> None:
    call = {"function": {"name": "f", "arguments": '{"q": "' + "查" * 100 + '"}'}}
    document = {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    assert chat_bound(document) >= 300
    assert chat_estimate(document) >= 75


def test_token_numbers_are_one_each() -> None:
    assert input_estimate([[1, 2, 3], [4]]) == 4
    assert input_estimate(["hello"]) == 1
    assert input_bound([[1, 2, 3]]) >= 3
    assert input_bound(["你好"]) >= 6


@pytest.mark.parametrize("text", ["我们", "hello", "12345", " \n", "ß", "😀", "a" * 100])
def test_every_script_counts_for_something(text: str) -> None:
    assert 0 < estimate(text) <= len(text.encode())


def test_a_body_with_what_json_can_say_is_taken() -> None:
    document = orjson.loads(b'{"messages": [{"role": "user", "content": 5, "x": [null, 1.5]}]}')
    assert chat_bound(document) > 96
    assert chat_estimate(document) > 0
