"""A posted body is cut into the records that the client wrote, and a bad one harms no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.enrichment.reading.read_file import Batch, read_records
from ai_services.enrichment.reading.split_records import split_records
from shared.errors import InvalidInput, MalformedRequest, UnsupportedMediaType
from tests.ai_services.enrichment.records import TURNS, record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = [*record(), "turns", "unknown", "a\u0001b", 'a"b', "a\\b", "a\nb", "\0", "\ud800"]
WRITTEN = st.sampled_from(
    [
        "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "100000000000000000000", "-" + "9" * 400,
        "9" * 5_000, '"a\\ud83d"', '"\\ud83d\\ude00"', '"\\u0000"', '"\x01"', "01", "tru", '{"a" 1}',
        "[" * 3_000 + "]" * 3_000, '{"b":1,"b":2}', '"]}{[,\\"\\\\"', '"\xff"', "'x'",
    ]
)  # fmt: skip


# As many times as turns: only the pairs show it.
_HIDDEN_TWICE = """"turns": [{"role": "agent", "text": "a", "at_ms": 1, "at_ms": 2},
    {"role": "agent", "text": "b"}]"""


def body_of(records: list[str], indent: str = "") -> bytes:
    listed = f",{indent}".join(records)
    return f'{{"records":{indent}[{indent}{listed}{indent}]}}{indent}'.encode("latin-1")


def read(body: bytes) -> Batch:
    return read_records(split_records(body, 1000))


def good(callid: str) -> str:
    return json.dumps(record(callid, turns=TURNS), indent=2)


@given(st.lists(JSON, min_size=1, max_size=5), st.sampled_from([None, 1]))
def test_a_body_is_cut_where_a_decoder_would_cut_it(values: list[Any], indent: int | None) -> None:
    body = json.dumps({"records": values}, indent=indent).encode()
    cut = [json.dumps(json.loads(item)) for item in split_records(body, 1000)]
    assert cut == [json.dumps(json.loads(json.dumps(value))) for value in values]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(FIELDS), JSON.map(json.dumps) | WRITTEN), min_size=1, max_size=4
    ),
    st.sampled_from(["", "\n", "\r\n\t "]),
)
def test_whatever_a_record_holds_the_others_come_in(
    odd: list[tuple[str, str]], indent: str
) -> None:
    members = ", ".join(f"{json.dumps(name)}: {value}" for name, value in odd)
    records = [good("first"), "{" + members + "}", odd[0][1], good("last")]
    batch = read(body_of(records, indent))
    callids = batch.frame["callid"].to_list()
    assert callids[:1] == ["first"]
    assert callids[-1:] == ["last"]
    assert batch.frame.height + batch.duplicates + len(batch.rejects) == len(records)
    for reject in batch.rejects:
        assert reject.problem
        assert reject.fix
        for text in (reject.field, reject.value, reject.problem, reject.fix, reject.raw):
            assert "\0" not in text.encode().decode()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FIELDS), WRITTEN | JSON.map(json.dumps))
def test_one_odd_value_in_any_field_of_a_good_record(name: str, value: str) -> None:
    sent = {key: json.dumps(one) for key, one in record("odd").items() if key != name}
    members = ", ".join(f"{json.dumps(key)}: {one}" for key, one in {**sent, name: value}.items())
    batch = read(body_of([good("a"), "{" + members + "}", good("b")]))
    assert {"a", "b"} <= set(batch.frame["callid"])


@pytest.mark.parametrize(
    ("written", "field", "problem"),
    [
        ('"callid": "a", "callid": "b"', "callid", "stands twice"),
        ('"duration_ms": 1, "duration_ms": 1.0', "duration_ms", "stands twice"),
        ('"rounds": null, "rounds": 2', "rounds", "stands twice"),
        ('"rounds": 2, "rounds": null', "rounds", "stands twice"),
        ('"x": 1, "x": 2', "x", "stands twice"),
        ('"c\\u0061llid": "b", "user_id": "u"', "callid", "stands twice"),
        ('"turns": [{"role": "agent", "role": "customer", "text": "a"}]', "turns", "role stands"),
        (_HIDDEN_TWICE, "turns", "at_ms stands twice"),
        ('"turns": [{"role": "agent", "text": "a", "at_ms": 1e400}]', "turns", "not a finite"),
    ],
)  # fmt: skip
def test_keys_that_disagree_are_told_in_every_row(written: str, field: str, problem: str) -> None:
    whole = json.dumps(record("a"))
    wrong = whole[:-1] + ", " + written + "}"
    # The first goes the slow way where a key is unknown, the second the way of rows seen before.
    batch = read(body_of([whole, wrong, json.dumps(record("b")), wrong, wrong]))
    assert [reject.line for reject in batch.rejects] == [2, 4, 5]
    assert {reject.field for reject in batch.rejects} == {field}
    assert all(problem in reject.problem for reject in batch.rejects)


def test_keys_that_agree_are_one() -> None:
    whole = json.dumps(record("a", turns=TURNS))
    twice = whole[:-1] + ', "rounds": 2, "callid": "a", "unknown": [1], "unknown": [1]}'
    batch = read(body_of([twice]))
    assert (batch.frame.height, batch.rejects) == (1, [])


@pytest.mark.parametrize("text", ['"role"', "role", "text", '"callid":', "callid", "at_ms"])
def test_a_text_that_looks_like_a_key_is_none(text: str) -> None:
    turns = [{"role": "agent", "at_ms": None, "text": text}, {"role": "customer", "text": text}]
    batch = read(body_of([json.dumps(record("callid", turns=turns, task_id=text.strip('":')))]))
    assert batch.rejects == []
    assert json.loads(batch.frame["turns"][0])[1]["text"] == text


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b'{"records":[', b'{"records":[1', b'{"records":[{]}', b'{"records":[1,]}',
        b'{"records":[,1]}', b'{"records":[1]', b'{"records":[1]} x', b'{"records":[1],}',
        b'{"records":["a]}', b'{"records":[1]}]', b"{records:[1]}", b'{"records" [1]}',
        b'{"records":[[}]]}', b"{" * 100_000, b'{"records":[' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_body_that_can_not_be_cut_is_malformed(body: bytes) -> None:
    with pytest.raises((MalformedRequest, InvalidInput)) as refused:
        split_records(body, 1000)
    assert refused.value.message


def test_a_byte_order_mark_is_left_out() -> None:
    assert split_records(b'\xef\xbb\xbf {"records":[1]}', 1000) == [b"1"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_told_as_everywhere(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        split_records('{"records":[1]}'.encode(encoding), 1000)


def test_what_is_nested_without_end_is_refused_early() -> None:
    with pytest.raises(MalformedRequest) as refused:
        split_records(b'{"records":[' + b"[" * 11_000, 1000)
    assert "levels deep" in refused.value.details[0].problem


_MANY = "[" + ",".join(["1.5"] * 150_000) + "]"


@pytest.mark.parametrize(
    ("odd", "field", "problem"),
    [
        (f'{{"callid":"x","y":{_MANY}}}', "", "more than 100,000 values"),
        ("[" + "[]," * 150_000 + "1]", "", "more than 100,000 values"),
        (json.dumps(record("x", more="a" * (8 << 20))), "", "bytes long, more than 8,388,608"),
    ],
    ids=["numbers", "lists", "long"],
)
def test_a_record_that_would_fill_the_memory_is_refused_by_itself(
    odd: str, field: str, problem: str
) -> None:
    batch = read(body_of([good("a"), odd, good("b")]))
    assert batch.frame["callid"].to_list() == ["a", "b"]
    assert [(one.line, one.field) for one in batch.rejects] == [(2, field)]
    assert problem in batch.rejects[0].problem
    assert len(batch.rejects[0].raw) <= 2_000


@pytest.mark.parametrize(
    ("turns", "problem"),
    [(_MANY, "more than 100,000 values"), ("[" * 50_000, "is not JSON")],
    ids=["in-a-text", "deep"],
)
def test_a_transcript_that_would_fill_the_memory_is_left_out(turns: str, problem: str) -> None:
    batch = read(body_of([good("a"), json.dumps(record("x", turns=turns)), good("b")]))
    assert batch.frame["callid"].to_list() == ["a", "x", "b"]
    [note] = batch.notes
    assert (note.line, note.field) == (2, "turns")
    assert problem in note.problem


def test_the_longest_transcript_is_taken() -> None:
    turns = [{"role": "agent", "at_ms": 1, "text": ",[{" * 60} for _ in range(5_000)]
    batch = read(body_of([json.dumps(record("a", turns=turns, unknown=1))]))
    assert batch.rejects == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", "body"), (b"null", "body"), (b'"x"', "body"), (b"{}", "records"),
        (b'{"records":{}}', "records"), (b'{"records":null}', "records"),
        (b'{"records":[]}', "records"), (b'{"records":[ ]}', "records"),
        (b'{"records":[' + b"1," * 1000 + b"1]}", "records"),
        (b'{"records":[1],"records":[2]}', "records"),
        (b'{"records":[1],"r\\u0065cords":[2]}', "records"),
        (b'{"x":1,"records":[1]}', "x"), (b'{"\\ud800":1}', "?"),
    ],
)  # fmt: skip
def test_a_body_of_another_shape_names_what_is_wrong(body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        split_records(body, 1000)
    assert type(refused.value) is InvalidInput
    assert refused.value.details[0].field == field
