"""Every id that is taken in can be named in a path of the API, and has one spelling."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http.path import normalise
from gateway.routing.packaged import packaged_routes
from shared.errors import MalformedRequest
from shared.ids import ROUTE_WORDS, one_spelling, why_unaddressable
from shared.serving.validation import parse_params

# What the rules of a record let through: no control, format or private characters.
IDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Co", "Cs", "Zl", "Zp"]),
    min_size=1,
    max_size=64,
).map(one_spelling)  # fmt: skip


@given(IDS | st.text("./\\%ab", min_size=1, max_size=4))
@example("%2e%2E")
@example("....")
@example("~;=@,:&'()*+$!")
def test_an_id_is_taken_exactly_if_its_path_leads_back_to_it(identity: str) -> None:
    sent = f"/api/v1/calls/{quote(identity, safe='')}".encode()
    try:
        path = normalise(sent)
        found = parse_params({"callid": path.removeprefix("/api/v1/calls/")})["callid"]
    except MalformedRequest:
        found = ""
    led_back = found == identity and identity not in ROUTE_WORDS
    assert (why_unaddressable(identity) is None) == led_back


@pytest.mark.parametrize("identity", ["a/b", "\\", ".", "..", *ROUTE_WORDS])
def test_what_is_refused_says_why_and_what_to_do(identity: str) -> None:
    told = why_unaddressable(identity)
    assert told is not None
    assert all(told)


@given(st.text(max_size=20))
def test_composed_and_decomposed_are_one(text: str) -> None:
    assert one_spelling(unicodedata.normalize("NFD", text)) == one_spelling(text)
    assert one_spelling(one_spelling(text)) == one_spelling(text)


def test_every_word_that_stands_beside_an_id_of_calls_is_a_route_word() -> None:
    paths = {tuple(route.path.split("/")) for route in packaged_routes()}
    ids = {path[:-1] for path in paths if path[-1] == "{callid}"}
    words = {path[-1] for path in paths if path[:-1] in ids and not path[-1].startswith("{")}
    assert words == set(ROUTE_WORDS)
