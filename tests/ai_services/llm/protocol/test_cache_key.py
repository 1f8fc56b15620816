"""Equal keys mean equal requests."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.llm.protocol.cache_key import cache_key
from tests.ai_services.llm.protocol.values import JSON, TEXTS

ORG = UUID(int=1)
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


def key(org: UUID = ORG, model: str = "m", prompt: str = "", **changes: Any) -> str:
    return cache_key(org, model, {**BODY, **changes}, prompt)


def test_the_order_of_keys_is_no_difference() -> None:
    swapped = {"temperature": 0, "messages": [{"content": "hi", "role": "user"}], "model": "m"}
    assert cache_key(ORG, "m", swapped, "") == key()
    assert len(key()) == 64


@pytest.mark.parametrize(
    "same", [{"stream": True}, {"stream_options": {}}, {"user": "u"}, {"metadata": {"a": "b"}}]
)
def test_what_makes_no_other_answer_is_no_part(same: dict[str, Any]) -> None:
    assert key(**same) == key()


def test_every_part_makes_another_key() -> None:
    keys = [
        key(),
        key(org=UUID(int=2)),
        key(model="n"),
        key(prompt="summary@1:0011aabb"),
        key(messages=[{"role": "user", "content": "hi "}]),
        key(messages=[{"role": "system", "content": "hi"}]),
        key(messages=[*BODY["messages"], *BODY["messages"]]),
        key(temperature=1),
        key(top_p=0),
        key(n=2),
        key(tools=[{"type": "function"}]),
        key(response_format={"type": "json_object"}),
        key(messages=None, input="hi"),
    ]
    assert len(set(keys)) == len(keys)


def test_a_border_between_parts_can_not_be_moved() -> None:
    assert key(model="ab", prompt="c") != key(model="a", prompt="bc")
    assert key(messages=1, input=23) != key(messages=12, input=3)
    assert key(model='m"', prompt="") != key(model="m", prompt='"')


@settings(max_examples=40)
@given(
    st.tuples(st.uuids(), TEXTS, st.lists(JSON, max_size=2), JSON, JSON, TEXTS),
    st.tuples(st.uuids(), TEXTS, st.lists(JSON, max_size=2), JSON, JSON, TEXTS),
)
def test_keys_are_equal_exactly_if_all_parts_are(one: Any, other: Any) -> None:
    def of(parts: Any) -> str:
        org, model, messages, seed, schema, prompt = parts
        body = {"messages": messages, "seed": seed, "response_format": schema}
        return cache_key(org, model, body, prompt)

    def spelled(parts: Any) -> bytes:
        return orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)

    assert (of(one) == of(other)) == (spelled(one) == spelled(other))
    for place in range(len(one)):
        mixed = (*one[:place], other[place], *one[place + 1 :])
        assert (of(mixed) == of(one)) == (spelled(mixed) == spelled(one))
