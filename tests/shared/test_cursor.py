"""Cursors: the way back to where a page ended, and to nowhere else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cursor import MAX_CURSOR_CHARS, Listing, Page, dated, moment, number, word
from shared.errors import InvalidInput, MalformedRequest

CALLS = Listing("calls", ("org", "user"), lambda at, callid: (moment(at), word(callid)))
TIMES = st.datetimes(
    datetime(1970, 1, 2), datetime(8999, 12, 30), timezones=st.just(timezone(timedelta(hours=8)))
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def cursor_after(listing: Listing[Any], *key: Any) -> str:
    page: Page[Any] = listing.page([key, key], 1, lambda row: row)
    assert page.next_cursor is not None
    return page.next_cursor


def forged(*parts: Any) -> str:
    raw = orjson.dumps(parts, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def mark_of(listing: Listing[Any], *key: Any) -> str:
    raw = cursor_after(listing, *key)
    return str(orjson.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))[1])


@given(TIMES, st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=64))
def test_a_cursor_reads_as_the_key_it_was_made_of(at: datetime, callid: str) -> None:
    cursor = cursor_after(CALLS, at, callid)
    assert CALLS.position(cursor) == (at, callid)
    assert len(cursor) <= MAX_CURSOR_CHARS


def test_the_last_page_has_none_and_no_cursor_is_the_first_page() -> None:
    assert CALLS.page([1, 2], 2, lambda row: [row]).next_cursor is None
    assert CALLS.page([], 2, lambda row: [row]) == Page([], None)
    assert CALLS.position(None) is None


@pytest.mark.parametrize(
    "other",
    [
        Listing("calls", ("org", "another"), CALLS.key),
        Listing("calls", ("org", None), CALLS.key),
        Listing("calls", ("org", "user", None), CALLS.key),
        Listing("imports", ("org", "user"), CALLS.key),
    ],
)
def test_a_cursor_of_another_query_says_start_again(other: Listing[Any]) -> None:
    cursor = cursor_after(CALLS, datetime(2024, 1, 1, tzinfo=UTC), "a")
    with pytest.raises(MalformedRequest, match="start again") as refused:
        other.position(cursor)
    assert refused.value.details[0].field == "cursor"


@given(
    st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode())
)
def test_what_no_list_gave_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        CALLS.position(cursor)


@given(st.lists(JSON, max_size=3))
def test_a_forged_key_is_a_key_or_refused(key: list[Any]) -> None:
    for listing in (CALLS, Listing("n", (), number), Listing("d", (), dated)):
        sample: tuple[Any, ...] = (1,) if listing.name == "n" else (datetime(2024, 1, 1, tzinfo=UTC), UUID(int=0))  # fmt: skip
        try:
            cursor = forged(1, mark_of(listing, *sample), *key)
        except TypeError:
            return  # orjson writes no integer beyond 64 bits
        try:
            listing.position(cursor)
        except InvalidInput:
            continue


@pytest.mark.parametrize("value", [-1, 2**63, 1.0, True, "1", None])
def test_a_number_is_a_whole_one_that_the_store_can_hold(value: Any) -> None:
    with pytest.raises(ValueError, match="number"):
        number(value)


def test_a_cursor_is_no_longer_than_it_may_be() -> None:
    with pytest.raises(InvalidInput):
        CALLS.position("A" * (MAX_CURSOR_CHARS + 4))
