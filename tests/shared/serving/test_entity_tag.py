"""Entity tags, and what a client may ask with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.serving.entity_tag import is_tag, matches, weak_tag

TAG = weak_tag(b"{}")
OTHERS = st.lists(st.binary(max_size=8).map(weak_tag), max_size=4)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_tag_stands_for_its_bytes(one: bytes, other: bytes) -> None:
    assert is_tag(weak_tag(one))
    assert (weak_tag(one) == weak_tag(other)) == (one == other)


@given(OTHERS, OTHERS, st.sampled_from([TAG, TAG.removeprefix("W/")]))
def test_it_is_found_among_others(before: list[str], after: list[str], tag: str) -> None:
    assert matches(", ".join([*before, tag, *after]), TAG)
    assert matches(",".join([*before, tag, *after]), TAG)
    assert matches(", ".join([*before, *after]), TAG) == (TAG in [*before, *after])


@pytest.mark.parametrize("asked", ["*", " * ", TAG, TAG.removeprefix("W/"), f'"a", {TAG}'])
def test_what_matches(asked: str) -> None:
    assert matches(asked, TAG)


@pytest.mark.parametrize(
    "asked", ["", "**", '"*"', TAG.replace('"', ""), TAG[:-1], '""', "W/", '"']
)
def test_what_does_not(asked: str) -> None:
    assert not matches(asked, TAG)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [('""', True), ('W/"a-1"', True), ("a", False), ('w/"a"', False), ('"a" ', False),
     ('"a", "b"', False), ('"\x7f"', False), ("", False)],
)  # fmt: skip
def test_what_is_a_tag(text: str, is_one: bool) -> None:
    assert is_tag(text) is is_one
