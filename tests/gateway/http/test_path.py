"""One spelling per path, and none for what two servers could read differently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.path import normalise
from shared.errors import MalformedRequest


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (b"/", "/"),
        (b"/api/v1/calls", "/api/v1/calls"),
        (b"/api/v1/calls/", "/api/v1/calls/"),
        (b"//api", "//api"),
        (b"/a/./b", "/a/b"),
        (b"/a/../b", "/b"),
        (b"/a/b/..", "/a/"),
        (b"/a/b/.", "/a/b/"),
        (b"/a/%2e%2E/b", "/b"),
        (b"/a/.%2e/b", "/b"),
        (b"/%61pi/%7Eme", "/api/~me"),
        (b"/a/%e5%ae%a2", "/a/%E5%AE%A2"),
        (b"/a/%252e%252e/b", "/a/%252e%252e/b"),
        (b"/a/...", "/a/..."),
        (b"/a/..;/b", "/a/..;/b"),
        (b"/.well-known/jwks.json", "/.well-known/jwks.json"),
        (b"/a/%20b%3B", "/a/%20b%3B"),
    ],
)
def test_a_path_has_one_spelling(written: bytes, normal: str) -> None:
    assert normalise(written) == normal


@pytest.mark.parametrize(
    "written",
    [
        b"/..", b"/../etc", b"/a/../../b", b"/%2e%2e/b", b"/a%2Fb", b"/a%2fb", b"/a%5Cb",
        b"/a\\b", b"/a%00", b"/a%0d%0ab", b"/a%7f", b"/a%", b"/a%2", b"/a%zz", b"/a b", b"/a\xff",
        b"/a%ff", b"/a%c0%af", b"/a<b", b'/a"b', b"/a|b", b"/a{b}", b"a/b", b"", b"*",
        b"/a^b", b"/a`b", b"/\x00",
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(written: bytes) -> None:
    with pytest.raises(MalformedRequest) as caught:
        normalise(written)
    assert caught.value.details[0].field == "path"


_BYTES = st.sampled_from([b"a", b"B", b"%2e", b".", b"/", b"%C3%A9", b"%41", b"~", b";", b"%25"])


@given(st.lists(_BYTES, max_size=12).map(lambda parts: b"/" + b"".join(parts)))
def test_normalising_twice_changes_nothing_and_no_dots_are_left(written: bytes) -> None:
    try:
        normal = normalise(written)
    except MalformedRequest:
        return
    assert normalise(normal.encode()) == normal
    assert not {".", ".."} & set(normal.split("/"))
    assert "%2F" not in normal
    assert normal.startswith("/")
