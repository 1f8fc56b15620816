"""Laws of splitting texts and of highlighting what a query found in them."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data_access.search.highlight import highlights
from shared.data_access.search.terms import MAX_TERMS, normal, terms, tokens, words

MIXED = st.text(
    alphabet=st.one_of(
        st.sampled_from("我要退款投诉电话 aAbBrefund's’é12-_.<>&\"'\n，。！カナ한글ไทย☎😀"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=80,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我要退款", ["我要", "要退", "退款", "款"]),
        ("退", ["退"]),
        ("Refunds refunded REFUNDING", ["refund"] * 3),
        ("customer's don’t", ["custom", "dont"]),
        ("4S店", ["4s", "店"]),
        ("wi-fi_密码", ["wi", "fi", "密码", "码"]),
        ("ＡＢＣ", ["abc"]),
        ("Straße", ["strass"]),
        ("1\u00bd", ["11⁄2"]),
        ("привет мир", ["привет", "мир"]),
        ("☎😀", ["☎", "😀"]),
        ("!? ,", []),
        ("", []),
    ],
)
def test_terms(text, expected):
    assert terms(text) == expected


def test_a_very_long_text_is_cut_and_a_very_long_word_too():
    assert len(terms("字" * 200_000)) == MAX_TERMS
    assert terms("x" * 1000) == ["x" * 64]


@given(MIXED)
def test_tokens_and_terms_are_two_views_of_the_same(text):
    assert [token.term for token in tokens(normal(text))] == terms(text)


@given(MIXED)
def test_tokens_stand_where_they_say(text):
    text = normal(text)
    for token in tokens(text):
        assert 0 <= token.start < token.end <= len(text)
        assert not text[token.start : token.end].isspace()


@given(MIXED)
def test_terms_are_ready_for_every_store(text):
    """No white space (Elasticsearch splits there), no '=' (marks of the adapter), no NUL."""
    for term in terms(text):
        assert term
        assert not re.search(r"[\s=\0]", term)
        assert len(term.encode()) <= 255 * 4


@given(MIXED, st.integers(0, 80), st.integers(1, 20))
def test_a_text_is_found_by_any_whole_part_of_it(text, start, length):
    """Cut between words or inside an unspaced run, a part's words occur in the whole."""
    runs = re.findall(r"[\u4e00-\u9fff]+", normal(text))
    for run in runs:
        part = run[start % len(run) :][:length]
        found = set(terms(text))
        for word in words(part):
            assert set(word.terms) <= found
            if word.prefix is not None:
                assert any(term.startswith(word.prefix) for term in found)


@given(MIXED, MIXED)
def test_highlights_say_nothing_but_the_text(text, query):
    plain = html.escape(normal(text))
    for fragment in highlights(text, words(query)):
        assert "<em>" in fragment
        shown = fragment.replace("<em>", "").replace("</em>", "")
        assert shown.removeprefix("…").removesuffix("…") in plain
        assert "<" not in shown


@given(MIXED)
def test_every_text_with_words_is_highlighted_by_itself(text):
    wanted = words(text)
    assert bool(highlights(text, wanted)) == bool(wanted)


def test_an_unspaced_word_is_highlighted_whole_where_it_stands():
    text = "绿茶餐厅在餐厅街，茶餐厅好吃"
    assert highlights(text, words("茶餐厅")) == ["绿<em>茶餐厅</em>在餐厅街，<em>茶餐厅</em>好吃"]


@pytest.mark.parametrize(
    ("simplified", "traditional"),
    [
        ("投诉", "投訴"),
        ("网络断线", "網絡斷線"),
        ("退订业务", "退訂業務"),
        ("我要销户", "我要銷戶"),
        ("发票", "發票"),
        ("理发", "理髮"),
        ("台湾电信", "臺灣電信"),
        ("签约", "簽約"),
        ("龙", "龍"),
        ("iPhone手机坏了", "iPhone手機壞了"),
    ],
)
def test_the_two_scripts_find_each_other(simplified, traditional):
    assert terms(simplified) == terms(traditional)
    assert highlights(f"好的，{traditional}。", words(simplified)) == [
        f"好的，<em>{traditional}</em>。"
    ]
    assert highlights(f"好的，{simplified}。", words(traditional)) == [
        f"好的，<em>{simplified}</em>。"
    ]


def test_both_scripts_in_one_text_are_highlighted():
    assert highlights("投诉还是投訴", words("投訴")) == ["<em>投诉</em>还是<em>投訴</em>"]
