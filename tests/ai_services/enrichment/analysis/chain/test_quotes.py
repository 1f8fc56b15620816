"""A quote counts only where somebody said it, and then as they said it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.analysis.chain.quotes import find_quote, verified
from ai_services.enrichment.analysis.local import Quote, Turn

TURNS = [
    Turn("agent", 0, "Hello, this is Ann."),
    Turn("customer", 1, "I  want a\u200b REFUND, now!"),
    Turn("customer", 2, "卡号是１２３４，谢谢。"),
]


def test_words_are_found_whatever_their_case_blanks_and_width() -> None:
    assert find_quote("i want a refund", TURNS) == Quote(1, "I  want a\u200b REFUND")
    assert find_quote("卡号是1234,谢谢", TURNS) == Quote(2, "卡号是１２３４，谢谢")
    assert find_quote("this is Ann", TURNS) == Quote(0, "this is Ann")


def test_what_nobody_said_or_two_said_together_is_no_quote() -> None:
    for quote in ("I want my money", "Ann. I want", "", " ", "I", "\u200b\u200b", "x" * 400):
        assert find_quote(quote, TURNS) is None


def test_quotes_are_counted_once_and_bounded() -> None:
    quotes, dropped = verified(["refund", "REFUND,", "refund", "lie", "Ann", "谢谢"], TURNS, 3)
    assert [one.text for one in quotes] == ["REFUND", "REFUND,", "Ann"]
    assert dropped == 1


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5), st.data())
def test_any_part_of_a_turn_is_found_and_what_is_found_stands_there(
    texts: list[str], data: st.DataObject
) -> None:
    turns = [Turn("customer", None, text) for text in texts]
    text = data.draw(st.sampled_from(texts))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    found = find_quote(text[start:end], turns)
    if found is None:
        assert sum(not one.isspace() and one.isprintable() for one in text[start:end]) < 2
    else:
        assert found.text in turns[found.turn].text
