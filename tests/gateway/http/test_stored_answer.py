"""Answers survive being written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.stored_answer import StoredAnswer

names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20).map(str.encode)
values = st.binary(max_size=40)


@given(
    st.integers(200, 499), st.lists(st.tuples(names, values), max_size=6).map(tuple), st.binary()
)
def test_what_is_written_is_read_again(
    status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes
) -> None:
    answer = StoredAnswer(status, headers, body)
    assert StoredAnswer.from_bytes(answer.to_bytes()) == answer


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        StoredAnswer.from_bytes(b"\x00" + data)
    for wrong in (b"{}\n", b"[]\n", b'{"status":200,"headers":[]}', b'{"status":1,"headers":7}\n'):
        with pytest.raises(ValueError):
            StoredAnswer.from_bytes(wrong)


def test_what_belongs_to_one_exchange_is_left_out() -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"set-cookie", b"a=b"),
        (b"x-request-id", b"1"),
        (b"ratelimit-limit", b"1"),
        (b"location", b"/api/v1/things/1"),
    ]
    assert StoredAnswer.of(201, headers, b"{}").headers == (headers[0], headers[5])


def test_directives_are_those_of_all_cache_control_headers() -> None:
    headers = ((b"cache-control", b"Private, max-age=3"), (b"cache-control", b"no-store"))
    assert StoredAnswer(200, headers, b"").directives() == {"private", "max-age", "no-store"}
    assert StoredAnswer(200, (), b"").directives() == frozenset()
