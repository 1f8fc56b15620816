from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.validation import phone_number
from ai_services.enrichment.validation.phone_number import (
    DEFAULT_COUNTRY,
    PhoneReader,
    is_country,
    read_phone,
    read_phones,
)

MOBILE = "+8613812345678"
MASKED = "is masked: digits are hidden"
ROUNDED = "a spreadsheet has rounded it: its last digits are lost"
NOBODY = "withholds the number, or knows none"
EXTENSION = "has an extension, which is left out"


def normalise(text: str, country: str = DEFAULT_COUNTRY) -> str | None:
    return read_phone(text, country).number


@pytest.mark.parametrize(
    "text",
    [
        "13812345678", "138 1234 5678", "138-1234-5678", "138.1234.5678", "138\u00a01234\u00a05678",
        "１３８１２３４５６７８", "+86 138 1234 5678", "+86-138-1234-5678", "+86 (0)138-1234-5678",
        "0086 138 1234 5678", "0086-13812345678", "8613812345678", "86-138 1234 5678", "013812345678",
        "(138) 1234 5678", "tel:+8613812345678", "tel:+86-138-1234-5678", "TEL:13812345678",
        "sip:13812345678@10.0.0.5", "sip:+8613812345678@pbx;user=phone", '"Bob" <sip:13812345678@pbx>',
        "<13812345678>", "Bob <13812345678>", "whatsapp:+8613812345678", "'13812345678",
        "13812345678.0", "1.3812345678E10", "1.3812345678E+10", "\u202d13812345678\u202c",
        "PJSIP/13812345678-0000a1", "+86–138–1234–5678", "＋86 138 1234 5678", "13812345678@pbx",
    ],
)  # fmt: skip
def test_one_number_has_one_spelling(text: str) -> None:
    assert read_phone(text) == (MOBILE, "", "")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+49 (0)30 123456", "+4930123456"),
        ("+49 30 123456-78", "+493012345678"),
        ("0049 30 123456", "+4930123456"),
        ("+1 (415) 555-0123", "+14155550123"),
        ("010-8888 8888", "+861088888888"),
        ("(021)68888888", "+862168888888"),
        ("400-810-8888", "+864008108888"),
        ("1001", "1001"),
        ("sip:1001@10.0.0.5", "1001"),
        ('"Bob" <1001>', "1001"),
        ("95588", "95588"),
        ("12315", "12315"),
    ],
)
def test_numbers_of_elsewhere_and_short_ones(text: str, number: str) -> None:
    assert read_phone(text) == (number, "", "")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("13812345678 ext. 12", MOBILE), ("13812345678;ext=5", MOBILE), ("13812345678转8012", MOBILE),
        ("13812345678 x12", MOBILE), ("13812345678,,801", MOBILE), ("13812345678#801", MOBILE),
        ("tel:+86-138-1234-5678;ext=12", MOBILE), ("13812345678 分机 8012", MOBILE),
        ("13812345678転8012", MOBILE), ("(010) 8888-8888 ext. 12", "+861088888888"),
        ("010-88888888转8012", "+861088888888"), ("010-88888888-801", "+861088888888"),
        ("0755-8888888-8012", "+867558888888"), ("+86-10-88888888-801", "+861088888888"),
        ("400-810-8888-801", "+864008108888"), ("021-6888 8888-12", "+862168888888"),
        ("+1 415 555 0123 extension 5", "+14155550123"),
    ],
)  # fmt: skip
def test_an_extension_is_left_out_and_told(text: str, number: str) -> None:
    assert read_phone(text)[:2] == (number, EXTENSION)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *[
            (word, NOBODY)
            for word in (
                "anonymous", "Anonymous", "ANONYMOUS", "Restricted", "unknown", "Unknown Number",
                "Private", "Private Number", "withheld", "Unavailable", "No Caller ID", "N/A", "n.a.",
                "null", "None", "-", "--", "?", "匿名", "未知", "未知号码", "隐藏号码", "无", "<unknown>",
                "sip:anonymous@anonymous.invalid", '"Anonymous" <sip:anonymous@pbx>', "+266696687",
                "000000", "anonymous caller",
            )
        ],
        ("138****5678", MASKED), ("138•••••678", MASKED), ("138xxxx5678", MASKED), ("***", NOBODY),
        ("1.38E+10", ROUNDED), ("1,38E+10", ROUNDED), ("1.381234E10", ROUNDED), ("1E+11", ROUNDED),
        ("13812345678/13987654321", "holds more than one number"),
        ("13812345678、13987654321", "holds more than one number"),
        ("client:alice", "is not a phone number"), ("sip:alice@pbx", "is not a phone number"),
        ("*97", "is not a phone number"), ("s", "is not a phone number"), ("0", "is not a phone number"),
        ("12", "is not a phone number"), ("1" * 21, "is not a phone number"),
        ("9" * 100_000, "is not a phone number"), (" " * 100_000 + "x", "is not a phone number"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_is_no_number_has_a_reason(text: str, problem: str) -> None:
    phone = read_phone(text)
    assert phone[:2] == (None, problem)
    assert phone.fix


def test_numbers_without_a_code_belong_to_the_country() -> None:
    assert normalise("030 123456", "DE") == "+4930123456"
    assert normalise("(415) 555-0123", "US") == "+14155550123"
    assert normalise("13812345678", "CN") == normalise("+86 138 1234 5678", "DE") == MOBILE
    assert normalise("anonymous") is None
    assert is_country("DE")
    assert not is_country("XX")
    assert not is_country(49)


mobiles = st.integers(13_000_000_000, 19_999_999_999).map(str)


@given(
    mobiles,
    st.sampled_from(["", "+86", "0086", "86", "+86 ", "+86 (0)", "tel:+86", "0"]),
    st.integers(0, 3),
)
def test_every_mobile_comes_to_the_same_whatever_stands_before(
    mobile: str, before: str, grouping: int
) -> None:
    mark = ["", " ", "-", "."][grouping]
    written = before + mark.join((mobile[:3], mobile[3:7], mobile[7:]))
    assert normalise(written) == f"+86{mobile}"


@given(st.one_of(mobiles, st.from_regex(r"\+?[0-9]{3,20}", fullmatch=True)))
def test_a_number_that_is_in_its_spelling_stays(text: str) -> None:
    once = normalise(text)
    assert once is None or normalise(once) == once


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    phone = read_phone(text)
    assert phone.number is not None or phone.problem


@given(
    st.lists(
        st.one_of(
            st.none(), mobiles, st.sampled_from(["x", "+4930123456", "0049 30 123456", "1001"])
        )
    )
)
def test_columns_are_read_as_cells_are(cells: list[str | None]) -> None:
    numbers, told = read_phones(pl.Series("phone", cells, dtype=pl.String), "CN", PhoneReader())
    assert numbers.to_list() == [None if one is None else normalise(one) for one in cells]
    assert set(told) == {one for one in cells if one == "x"}


def test_no_number_is_remembered_beyond_its_import() -> None:
    reader = PhoneReader()
    for _ in range(2):
        assert reader.read("138 1234 5678", "CN").number == MOBILE
        assert reader.read("138 1234 5678", "US").number != MOBILE
    remembering = [name for name, one in vars(phone_number).items() if hasattr(one, "cache_info")]
    assert remembering == []
