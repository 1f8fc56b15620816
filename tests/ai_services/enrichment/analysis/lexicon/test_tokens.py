"""Terms are found as by comparing each place with each term, whichever expression looks for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.analysis.lexicon.tokens import Tokens

LETTERS = "ab1 '好不!:"
TERMS = st.lists(
    st.text(LETTERS, min_size=1, max_size=4).filter(lambda t: t == t.strip()), max_size=8
)
WORDY = frozenset("ab1")


def slowly(text: str, terms: list[str]) -> list[tuple[int, int]]:
    """The longest term, or else the mark, at each place that no other covers."""
    found: list[tuple[int, int]] = []
    place = 0
    while place < len(text):
        ends = [place + len(term) for term in terms if stands(text, place, term)]
        if not ends and text[place] == "!":
            ends = [place + 1]
        if ends:
            found.append((place, max(ends)))
        place = max(ends, default=place + 1)
    return found


def stands(text: str, place: int, term: str) -> bool:
    end = place + len(term)
    begins_word = term[0] in WORDY and text[max(0, place - 1) : place] in WORDY
    ends_word = term[-1] in WORDY and text[end : end + 1] in WORDY
    return text.startswith(term, place) and not begins_word and not ends_word


@given(TERMS, st.text(LETTERS, max_size=24))
def test_the_longest_term_is_found_at_each_place(terms: list[str], text: str) -> None:
    found = [match.span() for match in Tokens(terms, "!").of(text)]
    assert found == slowly(text, terms)
