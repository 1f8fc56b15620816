"""Phone numbers in texts are masked, however they are written; what is none stays."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.phones import mask_phone, mask_phones, mask_written


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("13812348000", "138****8000"),
        ("+86 138 1234 8000", "86138****8000"),
        ("1234567", "1****7"),
        ("110", "****"),
    ],
)
def test_masked_forms(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked


@given(st.text("0123456789", min_size=3, max_size=20))
def test_a_mask_keeps_at_least_four_digits_hidden_of_long_numbers(phone: str) -> None:
    hidden = len(phone) - sum(c.isdigit() for c in mask_phone(phone))
    assert hidden >= min(4, len(phone) // 2)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("我的电话是13812348000。", "我的电话是138****8000。"),
        ("call +49 170 1234567 now", "call 4917****4567 now"),
        ("138_1234_8000, 138*1234*8000, 138:1234:8000", "138****8000, 138****8000, 138****8000"),
        ("+86_138 - 1234*8000", "86138****8000"),
        ("0.138.1234.8000", "0138****8000"),
        ("1.13812348000 2.15912345678", "1.138****8000 2.159****5678"),
        ("座机010-12345678", "座机010****5678"),
        (
            "order 20241204093000 of 2024-12-04T09:30:00+08:00",
            "order 20241204093000 of 2024-12-04T09:30:00+08:00",
        ),
        ("3996 credits, floor 15", "3996 credits, floor 15"),
    ],
)
def test_phone_numbers_in_text_are_masked_and_nothing_else(text: str, masked: str) -> None:
    assert mask_phones(text) == masked


MATHEMATICAL = str.maketrans("0123456789", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗")


def digits_of(text: str) -> str:
    return "".join(str(int(c)) for c in text if c.isdigit())


WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
MOBILES = st.from_regex(r"1[3-9][1-9]{9}", fullmatch=True)
LANDLINES = st.from_regex(r"0(10|2[1-9]|[3-9][1-9]{2})[2-8][1-9]{6,7}", fullmatch=True)
PREFIXES = st.sampled_from(["", "+86", "+86 ", "86", "0086", "0086-", "+86 (0)", "0", "tel:+86-"])
FOREIGN = st.sampled_from(
    ["+49 170 1234567", "+1 (415) 555-0123", "(415) 555-0123", "415-555-0123", "415.555.0123",
     "+33 6 12 34 56 78", "06 12 34 56 78", "+852 9123 4567", "+4915112345678", "0049 170 1234567",
     "4155550123", "400-800-8820", "1-800-555-0199", "491701234567", "86 10 6888 8888"]
)  # fmt: skip


BLANKS = ["", " ", "-", ".", "\u00a0", "–", "\u200b"]
MARKS = ["_", "*", "~", "＊", "_*", " ~ ", "**"]
COLONS = [":", "：", ": "]


@st.composite
def spaced(draw: st.DrawFn, numbers: st.SearchStrategy[str], separators: list[str]) -> str:
    """A number in groups of three or four, or digit by digit."""
    number, separator = draw(numbers), draw(st.sampled_from(separators))
    sizes = draw(st.sampled_from([(3, 4, 4), (4, 4, 4), (4, 8), (1,) * 13, (5, 6)]))
    groups, at = [], 0
    for size in sizes:
        groups.append(number[at : at + size])
        at += size
    return separator.join(group for group in (*groups, number[at:]) if group)


@st.composite
def marked(draw: st.DrawFn) -> str:
    """A mobile number with something else between any two of its digits, or nothing."""
    number, blanks = draw(MOBILES), st.sampled_from([*BLANKS, *MARKS])
    marks = draw(
        st.tuples(*[blanks] * 2, *[blanks | st.sampled_from(COLONS)] * 8)
    )  # 1:38 is a time
    return number[0] + "".join(mark + digit for mark, digit in zip(marks, number[1:], strict=True))


PHONES = st.one_of(
    st.builds("{}{}".format, PREFIXES, spaced(MOBILES, BLANKS + MARKS)),
    spaced(MOBILES, COLONS),
    st.builds("{}{}".format, PREFIXES, marked()),
    spaced(LANDLINES, BLANKS),
    FOREIGN,
).flatmap(
    lambda phone: st.sampled_from(
        [phone, phone.translate(WIDE), phone.translate(ARABIC), phone.translate(MATHEMATICAL)]
    )
)
AROUND = st.sampled_from(
    [("", ""), ("我的电话是", "，谢谢"), ("tel:", ";"), ('{"caller": "', '"}'), ("a,", ",12"), ("\n", "\t"),
     ('{"', '": 1}'), ("2024-03-05 14:20:00, ", " 65000"), ("<sip:", "@10.0.0.1>"), ("call ", " now")]
)  # fmt: skip


@settings(max_examples=300)
@given(PHONES, AROUND)
def test_no_number_survives(phone: str, around: tuple[str, str]) -> None:
    before, after = around
    for text in (before + phone + after, json.dumps(before + phone + after)):
        masked = mask_written(text)
        assert digits_of(phone)[-9:] not in digits_of(masked)
        assert "****" in masked


@given(MOBILES)
def test_a_number_in_scientific_notation_is_masked(phone: str) -> None:
    for written in (f"{phone[0]}.{phone[1:]}E10", f"{phone[0]}.{phone[1:]}e+10", f"{phone}.0"):
        assert mask_phones(written).startswith(f"{phone[:3]}****{phone[-4:]}")


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-05T14:20:00.123456+08:00", "2024/3/5 14:20", "05.03.2024 14:20", "20240305142000",
        "05-MAR-24 02.20.00.000000 PM", "1709619600", "1709619600123", "1709619600.123", "86400000",
        "192.168.100.200:8206", "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11", "0.6153846153846154",
        "call-2024-000123", "2024-000123", "12345678901234567", "65000,66000,2,1", "12.345678901 s",
        "0.13812348000", "score 0.83726451", "1709619600.5", "[1709619600.25, 0.0001234567]",
        "p=0.13812348000, 0.15912345678", "-0.13812348000.", "14:20:00 65000",
        "138****8000 138****8000", "138****8000 2024", "13:45:12:34:56:78", "10.0.0.13:8200",
    ],
)  # fmt: skip
def test_what_is_no_number_stays(text: str) -> None:
    assert mask_phones(text) == text


@settings(max_examples=50)
@given(st.text("0123456789 -.()+/:,a", max_size=200))
def test_masking_twice_changes_nothing_more_that_is_long(text: str) -> None:
    masked = mask_phones(text)
    assert not re.search(r"(?<!\d)1[3-9]\d{9}(?!\d)", mask_phones(masked))
