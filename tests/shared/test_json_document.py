"""JSON of a request: what two readers could read apart, or nobody could store, is found in its place."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput, LoomaError, MalformedRequest, UnsupportedMediaType, render
from shared.json_document import parse_json, read_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)))
)
NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20
)


@given(VALUES, st.booleans())
def test_what_is_right_is_read_as_it_is(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert read_json(text.encode()) == value
    assert read_json(b"\xef\xbb\xbf" + text.encode()) == value


@given(st.text() | st.binary() | st.text('{}[]:,"\\u0dD8e+-19.NaIty\n ').map(str.lower))
def test_whatever_comes_is_read_or_refused_in_words_that_can_be_written(body: str | bytes) -> None:
    sent = body if isinstance(body, bytes) else body.encode(errors="replace")
    try:
        orjson.dumps(read_json(sent))
    except LoomaError as error:
        status, answer, _ = render(error, "")
        assert 400 <= status < 500
        assert orjson.dumps(answer)


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ('{"a":1e400}', "a", "not a finite number"),
        ('{"a":[0,-1E+999]}', "a.1", "not a finite number"),
        ('{"a":{"b":NaN}}', "a.b", "not a finite number"),
        ('{"a":-Infinity}', "a", "not a finite number"),
        ("1e400", "body", "not a finite number"),
        ('{"a":18446744073709551616}', "a", "beyond 64 bits"),
        ('{"a":-9223372036854775809}', "a", "beyond 64 bits"),
        ('{"a":[%s]}' % ("9" * 5000), "a.0", "beyond 64 bits"),
        ('{"a":1,"a":2}', "a", "given twice"),
        ('{"a":1,"a":1.0}', "a", "given twice"),
        ('{"a":1,"a":true}', "a", "given twice"),
        ('{"a":[1],"a":[true]}', "a", "given twice"),
        ('{"x":[{"a":1,"b":0,"a":null}]}', "x.0.a", "given twice"),
        ('{"a":1,"\\u0061":2}', "a", "given twice"),
        ('{"a":1,"a":1e400}', "a", "given twice"),
        ('{"a":"x\\ud83d"}', "a", "half of a surrogate pair"),
        ('{"a":["\\uDE00\\uD83D"]}', "a.0", "half of a surrogate pair"),
        ('{"\\udfff":1}', "\udfff", "half of a surrogate pair"),
    ],
)
def test_what_cant_be_taken_is_named(text: str, field: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_json(text.encode())
    detail = caught.value.details[0]
    assert detail.field == field
    assert problem in detail.problem
    assert detail.fix
    assert orjson.dumps(render(caught.value, "")[1])


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":{"x":1,"y":[]},"a":{"y":[],"x":1}}',
        '{"a":"\\ud83d\\ude00"}',
        '{"a":"\\\\ud83d"}',
        '{"a":18446744073709551615,"b":-9223372036854775808}',
        '{"a":1.7e308,"b":1e-400}',
        "[" * 200 + "]" * 200,
    ],
)
def test_what_only_looks_wrong_is_taken(text: str) -> None:
    assert not parse_json(text.encode()).findings


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"{'a':1}", b'{"a":01}', b'{"a":"\n"}', b'{"a":1}x', b"\xef\xbb\xbf", b'"\xff"',
        b'"\xed\xa0\x80"', b"nan", b"[" * 100_000, b"[" * 201 + b"]" * 201,
        b'{"a":' * 300 + b"1" + b"}" * 300,
    ],
)  # fmt: skip
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read_json(body)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_another_encoding_is_told_by_the_bytes(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="UTF-16"):
        read_json('{"a": 1}'.encode(encoding))


def test_findings_are_bounded_and_found_fast_however_a_body_is_made() -> None:
    with pytest.raises(InvalidInput, match="and 49 more") as caught:
        read_json(b"[" + b"1e400," * 100_000 + b"0]")
    assert len(caught.value.details) == 50
    # Each level compares its two values: only as far as the smaller one goes.
    nested = b'{"a":1,"a":' * 190 + b"1" * 18 + b"}" * 190
    with pytest.raises(InvalidInput, match="given twice"):
        read_json(nested)


def test_nothing_writes_a_value_that_cant_be_taken() -> None:
    document = parse_json(b'{"a":1e400,"b":[100000000000000000000]}')
    assert len(document.findings) == 2
    with pytest.raises(TypeError):
        orjson.dumps(document.value)


@given(VALUES, VALUES)
def test_a_key_given_twice_is_one_if_its_values_are(one: Any, other: Any) -> None:
    text = f'{{"a":{json.dumps(one)},"a":{json.dumps(other)}}}'
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (not parse_json(text.encode()).findings) == same


@given(VALUES, st.data())
def test_findings_stand_where_the_values_do(value: Any, data: st.DataObject) -> None:
    """Whatever lies beside the way to them."""
    path: list[str | int] = []
    written = "1e400"
    for step in data.draw(st.lists(NAMES.filter(lambda name: name != "z") | st.none(), max_size=4)):
        if step is None:
            written = f"[{json.dumps(value)},{written}]"
            path.insert(0, 1)
        else:
            written = f'{{"z":{json.dumps(value)},{json.dumps(step)}:{written}}}'
            path.insert(0, step)
    (finding,) = parse_json(written.encode()).findings
    assert finding.path == tuple(path)
