"""What a model reads of a text."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.enrichment.analysis.trained.ngrams import FAMILIES, pairs, parts, words


def alike(family: str, one: str, other: str) -> bool:
    read = FAMILIES[family]
    return sorted(read(one).tolist()) == sorted(read(other).tolist())


def shares(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.isin(one, other).any())


def test_case_width_and_apostrophes_tell_nothing() -> None:
    for family in FAMILIES:
        assert alike(family, "It DOESN'T work", "it doesnt WORK")
        assert alike(family, "ＡＢＣ　１２", "abc 12")
        assert alike(family, "I can’t", "i cant")


def test_words_are_known_by_their_stems_and_their_neighbours() -> None:
    assert shares(words("refunds"), words("my refunded payment"))
    assert shares(words("card lost"), words("the card is lost")) is True
    assert not shares(words("alpha"), words("beta gamma"))
    assert not alike("words", "not good but bad", "not bad but good")
    assert alike("pairs", "lost my card", "card my lost")


def test_chinese_characters_are_words_of_their_own() -> None:
    assert shares(words("退款"), words("我要退款"))
    assert len(pairs("退款")) == 1


@settings(max_examples=50)
@given(st.text(max_size=40))
def test_parts_are_the_character_ngrams_within_words(text: str) -> None:
    plain = " ".join(re.findall(r"\w+", text.lower())) if text.isascii() else ""
    if not plain or "'" in text:
        assert parts(text).dtype == np.uint64
        return
    padded = f" {plain} "
    wanted = [
        padded[start : start + length]
        for length in range(2, 6)
        for start in range(len(padded) - length + 1)
        if " " not in padded[start + 1 : start + length - 1]
    ]
    found = parts(text)
    assert len(found) == len(wanted)
    assert len(set(found.tolist())) == len(set(wanted))


@given(st.text(max_size=60))
def test_any_text_is_read_by_every_family(text: str) -> None:
    for read in FAMILIES.values():
        found = read(text)
        assert found.dtype == np.uint64
        assert np.array_equal(found, read(text))


def test_a_long_text_costs_what_its_length_costs() -> None:
    long = "please refund my payment 退款 " * 4000
    assert len(pairs(long)) < 12 * 20_000
    assert len(parts(long)) < 4 * 20_001
