"""Packs are as full as tokens allow, and what a killed process had asked is put together again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.analysis.chain.asking.packing import packed, planned
from ai_services.enrichment.analysis.chain.rules import Requests
from ai_services.enrichment.analysis.chain.transcript import Item

SMALL = Requests(batch=4, request_tokens=1000, answer_tokens=4096)


def items(*tokens: int) -> list[Item]:
    return [Item(bytes([n]) * 32, (), number) for n, number in enumerate(tokens)]


@given(st.lists(st.integers(1, 950), max_size=40))
def test_each_is_in_one_pack_and_no_pack_is_too_large(tokens: list[int]) -> None:
    several = items(*tokens)
    packs = packed(several, SMALL)
    assert [item for pack in packs for item in pack.items] == several
    for pack in packs:
        assert 0 < len(pack.items) <= 4
        assert sum(item.tokens + 40 for item in pack.items) <= 1000
    for pack, after in pairwise(packs):
        weight = sum(item.tokens + 40 for item in pack.items) + after.items[0].tokens + 40
        assert len(pack.items) == 4 or weight > 1000


def test_answers_bound_packs_too() -> None:
    assert [len(pack.items) for pack in packed(items(*[10] * 50), Requests())] == [16, 16, 16, 2]


def test_what_was_under_way_is_asked_again_as_it_was() -> None:
    a, b, c, d, e = several = items(10, 10, 10, 10, 10)
    known = {item.digest: item for item in several}
    plan = planned(known, [[d.digest, b.digest], [a.digest, b"gone" * 8]], SMALL)
    assert [pack.items for pack in plan.again] == [(d, b)]
    assert [pack.items for pack in plan.new] == [(a, c, e)]


def test_a_pack_is_named_by_what_it_holds_in_its_order() -> None:
    one, other = packed(items(1, 2), SMALL), packed(items(1, 2)[::-1], SMALL)
    assert one[0].name == packed(items(1, 2), SMALL)[0].name
    assert one[0].name != other[0].name
    assert [len(half.items) for half in packed(items(1, 2, 3), SMALL)[0].halves()] == [1, 2]
