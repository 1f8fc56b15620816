"""Streamed answers: what was said, and what the client gets of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.llm.protocol.sse import Event
from ai_services.llm.protocol.stream import ChatStream
from shared.errors import UpstreamError
from tests.ai_services.llm.protocol.values import TEXTS

USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
LAST = {"id": "1", "choices": [], "usage": USAGE}


def chunk(content: str | None = None, *, index: int = 0, reason: str | None = None, **delta: Any):
    said = delta if content is None else {"content": content, **delta}
    return {"id": "1", "choices": [{"index": index, "delta": said, "finish_reason": reason}]}


def taken(*chunks: dict[str, Any], wants_usage: bool = False) -> tuple[ChatStream, list[Any]]:
    stream = ChatStream(wants_usage=wants_usage)
    return stream, [stream.take(Event(json.dumps(one))) for one in chunks]


def test_what_was_streamed_is_kept_for_counting() -> None:
    stream, got = taken(
        chunk(role="assistant", content=""),
        chunk("你"),
        chunk("好"),
        chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": '{"a'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '":1}'}}]),
        chunk("second", index=1, reason="length"),
        chunk(reasoning_content="!", reason="stop"),
    )
    assert stream.text == '你好f{"a":1}!\nsecond'
    assert stream.finish_reasons == {0: "stop", 1: "length"}
    assert stream.is_finished
    assert got[1] == chunk("你")
    assert stream.take(Event("[DONE]")) is None
    assert stream.is_done


def test_a_stream_is_finished_when_each_choice_is() -> None:
    assert not taken()[0].is_finished
    assert not taken(chunk("a"), chunk("b", index=1, reason="stop"))[0].is_finished
    assert taken(chunk("a", reason="stop"))[0].is_finished


def test_usage_is_for_the_client_that_asked() -> None:
    chunks = ({**chunk("a"), "usage": None}, chunk(reason="stop"), LAST)
    stream, got = taken(*chunks)
    assert got == [chunk("a"), chunk(reason="stop"), None]
    assert stream.usage == USAGE
    stream, got = taken(*chunks, wants_usage=True)
    assert got == list(chunks)
    assert stream.usage == USAGE


def test_usage_within_the_last_chunk_is_taken_out_of_it() -> None:
    stream, got = taken({**chunk("a", reason="stop"), "usage": USAGE})
    assert got == [chunk("a", reason="stop")]
    assert stream.usage == USAGE


def test_chunks_without_choices_that_tell_something_else_pass() -> None:
    first = {"choices": [], "prompt_filter_results": []}
    assert taken(first)[1] == [first]


def test_a_refusal_is_known() -> None:
    stream, _ = taken(chunk(refusal="I "), chunk(refusal="can't.", reason="stop"))
    assert stream.refusals == {0: "I can't."}
    assert stream.is_refused
    assert taken(chunk("a", reason="content_filter"))[0].is_refused
    assert not taken(chunk("a"), chunk("b", index=1, reason="content_filter"))[0].is_refused
    assert not taken()[0].is_refused


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ("{}", "no chunk"),
        ('{"choices": null}', "no chunk"),
        ('{"choices": [5]}', "a choice that is none"),
        ('{"choices": [{"index": "0"}]}', "a choice that is none"),
        ('{"error": {"message": "overloaded"}}', "failed in its answer"),
        ('{"error": {"message": "overloaded"}, "choices": []}', "failed in its answer"),
    ],
)
def test_what_is_no_chunk_breaks_the_stream(data: str, said: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        ChatStream(wants_usage=False).take(Event(data))
    assert said in caught.value.message


def test_a_stream_without_end_is_cut() -> None:
    stream = ChatStream(wants_usage=False)
    event = Event(json.dumps(chunk("x" * (4 << 20))))
    for _ in range(4):
        stream.take(event)
    with pytest.raises(UpstreamError, match="more than 16777216 characters"):
        stream.take(event)


@given(st.lists(st.tuples(st.integers(0, 3), TEXTS), max_size=10))
def test_the_text_is_that_of_all_pieces(pieces: list[tuple[int, str]]) -> None:
    stream, got = taken(*(chunk(text, index=index) for index, text in pieces))
    texts = {
        index: "".join(text for one, text in pieces if one == index) for index, _ in sorted(pieces)
    }
    assert stream.text == "\n".join(texts[index] for index in sorted(texts))
    assert None not in got
