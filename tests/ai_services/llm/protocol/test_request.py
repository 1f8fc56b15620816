"""What is taken from a body, and that the rest of it goes on as it came."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.llm.protocol.request import read_chat, read_embeddings
from shared.errors import InvalidInput, MalformedRequest
from tests.ai_services.llm.protocol.values import JSON, TEXTS

HELLO = [{"role": "user", "content": "你好"}]
GOOD = {"model": "fast", "messages": HELLO}


def chat(**changes: Any):
    return read_chat(json.dumps({**GOOD, **changes}).encode())


def embeddings(**changes: Any):
    return read_embeddings(json.dumps({"model": "v", "input": "你好", **changes}).encode())


def test_a_small_body_has_the_defaults() -> None:
    request = chat()
    assert (request.model, request.messages) == ("fast", HELLO)
    assert (request.stream, request.wants_usage, request.n) == (False, False, 1)
    assert request.max_tokens is None


def test_null_is_as_good_as_leaving_out() -> None:
    names = ("stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools")
    request = chat(**dict.fromkeys((*names, "response_format", "metadata")))
    assert (request.stream, request.n, request.max_tokens) == (False, 1, None)


def test_what_we_need_is_taken() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    request = chat(
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=10,
        max_completion_tokens=20,
        n=3,
        tools=[tool],
        response_format={"type": "json_object"},
        metadata={"a": "b"},
    )
    assert (request.stream, request.wants_usage, request.n) == (True, True, 3)
    assert request.max_tokens == 20
    assert request.document["tools"] == [tool]


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"model": None}, "model", "is missing"),
        ({"model": ""}, "model", "is missing"),
        ({"model": 5}, "model", "is missing"),
        ({"model": "m" * 201}, "model", "is too long"),
        ({"messages": None}, "messages", "is missing or empty"),
        ({"messages": []}, "messages", "is missing or empty"),
        ({"messages": "hello"}, "messages", "is missing or empty"),
        ({"messages": [*HELLO, "hello"]}, "messages.1", "is not an object"),
        ({"messages": [{"content": "x"}]}, "messages.0.role", "is missing"),
        ({"messages": [{"role": 1}]}, "messages.0.role", "is missing"),
        ({"stream": "yes"}, "stream", "neither true nor false"),
        ({"stream_options": True}, "stream_options", "is not an object"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "neither"),
        ({"max_tokens": 0}, "max_tokens", "of at least 1"),
        ({"max_tokens": -5}, "max_tokens", "of at least 1"),
        ({"max_tokens": "10"}, "max_tokens", "send a whole number"),
        ({"max_tokens": 10.0}, "max_tokens", "send a whole number"),
        ({"max_tokens": True}, "max_tokens", "send a whole number"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "of at least 1"),
        ({"n": 0}, "n", "from 1 to 16"),
        ({"n": 17}, "n", "from 1 to 16"),
        ({"tools": {}}, "tools", "is not a list of objects"),
        ({"tools": ["f"]}, "tools", "is not a list of objects"),
        ({"response_format": "json"}, "response_format", "is not an object"),
        ({"metadata": {"a": 1}}, "metadata", "holds a value that is no text"),
    ],
)
def test_a_wrong_value_is_named_with_its_problem_and_fix(changes, field, said) -> None:
    with pytest.raises(InvalidInput) as caught:
        chat(**changes)
    (detail,) = caught.value.details
    assert detail.field == field
    assert said in caught.value.message
    assert detail.fix


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b'"x"',
        b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "m", "messages": ' + b"[" * 210 + b"]" * 210 + b"}",
        b'{"model": "m", "messages": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read_chat(body)


@pytest.mark.parametrize("value", ["NaN", "1e999", '"\\ud800"'])
def test_values_that_no_json_has_are_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        read_chat(b'{"model": "m", "messages": [{"role": "u"}], "x": ' + value.encode() + b"}")


def test_a_bound_of_the_answer_is_within_what_the_model_can_give() -> None:
    assert chat().output_bound(100) == 100
    assert chat(n=4).output_bound(100) == 400
    assert chat(n=4, max_tokens=10).output_bound(100) == 40
    assert chat(max_tokens=100).output_bound(100) == 100
    with pytest.raises(InvalidInput, match=r"max_tokens: is 101, .*'fast' .* 100 tokens at most"):
        chat(max_tokens=101).output_bound(100)
    with pytest.raises(InvalidInput, match=r"^max_completion_tokens: is 101"):
        chat(max_tokens=5, max_completion_tokens=101).output_bound(100)


def test_only_the_name_of_the_model_is_another() -> None:
    body = {
        **GOOD,
        "temperature": 0.1,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                ],
            },
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"arguments": "{}"}}]},
        ],
        "top_k": 5,
        "vendor": {"thinking": None},
    }
    sent = orjson.loads(read_chat(json.dumps(body).encode()).for_provider("qwen-flash"))
    assert sent == {**body, "model": "qwen-flash"}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": False}, False),
        ({"include_usage": True}, True),
    ],
)
def test_a_stream_ends_with_its_usage_whether_or_not_the_client_asked(options, asked) -> None:
    request = chat(stream=True, stream_options=options)
    assert request.wants_usage is asked
    sent = orjson.loads(request.for_provider("m"))
    assert sent["stream_options"] == {"include_usage": True}
    other = chat(stream=True, stream_options={"include_obfuscation": False})
    assert orjson.loads(other.for_provider("m"))["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }
    assert "stream_options" not in orjson.loads(chat().for_provider("m"))


@settings(max_examples=40)
@given(st.dictionaries(TEXTS.filter(lambda name: name not in GOOD), JSON, max_size=5))
def test_unknown_parameters_mean_the_same_after_it(others: dict[str, Any]) -> None:
    known = ("stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools")
    others = {k: v for k, v in others.items() if k not in (*known, "response_format", "metadata")}
    sent = read_chat(orjson.dumps({**others, **GOOD})).for_provider("other")
    assert json.loads(sent) == {**others, **GOOD, "model": "other"}


def test_other_messages_take_the_place_of_those_that_came() -> None:
    request = chat(seed=1).with_messages([{"role": "user", "content": "[PHONE_1]"}])
    assert request.messages == [{"role": "user", "content": "[PHONE_1]"}]
    assert orjson.loads(request.for_provider("m"))["messages"] == request.messages
    assert orjson.loads(request.for_provider("m"))["seed"] == 1


def test_of_a_key_that_is_given_twice_the_last_is_read_and_sent() -> None:
    body = b'{"model":"m","messages":[{"role":"u"}],"max_tokens":1,"max_tokens":2}'
    request = read_chat(body)
    assert request.max_tokens == 2
    assert request.for_provider("m").count(b"max_tokens") == 1


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("你好", ["你好"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
def test_embeddings_are_asked_for_texts_or_tokens(given, inputs) -> None:
    request = embeddings(input=given, dimensions=8, encoding_format="base64", user="u")
    assert request.inputs == inputs
    sent = orjson.loads(request.for_provider("bge"))
    assert sent == {
        "model": "bge",
        "input": given,
        "dimensions": 8,
        "encoding_format": "base64",
        "user": "u",
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a", [1]]}, "input"),
        ({"input": [[1], [-1]]}, "input"),
        ({"input": [[1], []]}, "input"),
        ({"input": [1, True]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"model": ""}, "model"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_a_wrong_value_of_embeddings_is_named(changes, field) -> None:
    with pytest.raises(InvalidInput) as caught:
        embeddings(**changes)
    assert caught.value.details[0].field == field
