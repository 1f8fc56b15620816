"""Requests without personal data in them, and their placeholders."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.llm.privacy.mask import mask_chat, mask_texts
from ai_services.llm.privacy.restore import Restorer
from ai_services.llm.protocol.request import ChatRequest, read_chat
from tests.ai_services.llm.privacy.values import TEXTS, VALUES


def request(*contents: Any, **rest: Any) -> ChatRequest:
    messages = [{"role": "user", "content": content} for content in contents]
    return read_chat(orjson.dumps({"model": "m", "messages": messages, **rest}))


def test_the_same_value_has_the_same_placeholder_in_all_messages() -> None:
    asked = request("13800138000和13900139000", "再打13800138000，或写信到 a@b.cn")
    masked, placeholders = mask_chat(asked)
    assert [message["content"] for message in masked.messages] == [
        "[PHONE_1]和[PHONE_2]",
        "再打[PHONE_1]，或写信到 [EMAIL_1]",
    ]
    assert placeholders == {
        "[PHONE_1]": "13800138000",
        "[PHONE_2]": "13900139000",
        "[EMAIL_1]": "a@b.cn",
    }
    assert asked.messages[0]["content"] == "13800138000和13900139000"
    assert orjson.loads(masked.for_provider("m"))["messages"] == masked.messages


def test_a_request_without_any_stays_the_same() -> None:
    asked = request("hello [PHONE_1]")
    masked, placeholders = mask_chat(asked)
    assert masked is asked
    assert placeholders == {}


def test_a_placeholder_that_is_there_already_is_not_used() -> None:
    asked = request("[PHONE_1] 13800138000", tools=[{"type": "x", "about": "like [PHONE_2]"}])
    masked, placeholders = mask_chat(asked)
    assert masked.messages[0]["content"] == "[PHONE_1] [PHONE_3]"
    assert placeholders == {"[PHONE_3]": "13800138000"}


def test_all_texts_of_a_message_are_masked_and_nothing_else() -> None:
    phone = "13800138000"
    image = {"type": "image_url", "image_url": {"url": "data:,13800138000"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": phone}, image, "13800138000"]},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": phone,
            "refusal": phone,
            "tool_calls": [
                {"id": phone, "function": {"name": "f", "arguments": f'{{"to":"{phone}"}}'}},
                {"id": "2", "type": "custom", "custom": {"name": "g", "input": phone}},
                "13800138000",
            ],
            "function_call": {"name": "h", "arguments": phone},
        },
        {"role": "tool", "tool_call_id": phone, "content": f'{{"found":{phone}}}'},
    ]
    asked = read_chat(orjson.dumps({"model": "m", "messages": messages, "user": phone}))
    masked, _ = mask_chat(asked)
    user, assistant, tool = masked.messages
    assert user["content"] == [{"type": "text", "text": "[PHONE_1]"}, image, phone]
    assert (assistant["reasoning_content"], assistant["refusal"]) == ("[PHONE_1]", "[PHONE_1]")
    assert assistant["content"] is None
    first, second, third = assistant["tool_calls"]
    assert first == {"id": phone, "function": {"name": "f", "arguments": '{"to":"[PHONE_1]"}'}}
    assert second["custom"] == {"name": "g", "input": "[PHONE_1]"}
    assert third == phone
    assert assistant["function_call"]["arguments"] == "[PHONE_1]"
    assert tool == {"role": "tool", "tool_call_id": phone, "content": '{"found":[PHONE_1]}'}
    assert masked.document["user"] == phone


def test_escapes_in_arguments_hide_nothing() -> None:
    arguments = '{"to": "\\u0031\\u00338\\uff10\\uff10138000"}'
    call = {"role": "assistant", "tool_calls": [{"function": {"arguments": arguments}}]}
    asked = read_chat(orjson.dumps({"model": "m", "messages": [call]}))
    masked, placeholders = mask_chat(asked)
    sent = masked.messages[0]["tool_calls"][0]["function"]["arguments"]
    assert sent == '{"to":"[PHONE_1]"}'
    assert json.loads(Restorer(placeholders).text(sent)) == json.loads(arguments)


def test_a_value_within_a_longer_number_is_not_sent_either() -> None:
    masked, placeholders = mask_chat(request("13800138000", "913800138000号"))
    assert masked.messages[1]["content"] == "9[PHONE_1]号"
    assert list(placeholders) == ["[PHONE_1]"]


def test_texts_to_be_embedded_are_masked_for_good() -> None:
    texts = ["打13800138000", "没有", "[PHONE_1]", "[PHONE_1]或13900139000"]
    assert mask_texts(texts) == ["打[PHONE_1]", "没有", "[PHONE_1]", "[PHONE_1]或[PHONE_2]"]
    assert mask_texts(texts[:1]) == ["打[PHONE_1]"]  # whatever stands beside it


@settings(max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.lists(VALUES, max_size=3))
def test_what_was_masked_comes_back_and_no_value_is_sent(texts: list[str], values) -> None:
    texts = [text.encode(errors="ignore").decode() for text in texts]
    asked = request(*texts, "，".join(values))
    masked, placeholders = mask_chat(asked)
    restorer = Restorer(placeholders)
    assert [restorer.text(one["content"]) for one in masked.messages] == [
        one["content"] for one in asked.messages
    ]
    sent = [message["content"] for message in masked.messages]
    assert not [value for value in placeholders.values() for text in sent if value in text]
    assert {*values} <= {*placeholders.values()} or not values
    assert len(set(placeholders.values())) == len(placeholders)
    assert not [name for name in placeholders for text in (*texts, *values) if name in text]


@settings(max_examples=40)
@given(VALUES, VALUES)
def test_a_value_is_restored_in_json(one: str, other: str) -> None:
    arguments = json.dumps({"a": f"你{one}好", "b": [other]}, ensure_ascii=False)
    call = {"role": "assistant", "tool_calls": [{"function": {"arguments": arguments}}]}
    masked, placeholders = mask_chat(read_chat(orjson.dumps({"model": "m", "messages": [call]})))
    sent = masked.messages[0]["tool_calls"][0]["function"]["arguments"]
    assert one not in sent
    assert other not in sent
    assert json.loads(sent)  # placeholders leave it JSON
    assert Restorer(placeholders).text(sent) == arguments
