"""One number is one customer, however it is written, and nobody reads it from the identity."""

from __future__ import annotations

import re
from uuid import UUID

import phonenumbers
import pytest

from ai_services.enrichment.customers.identity import customer_of, e164, identity_key

KEY = identity_key(b"k" * 32, UUID(int=1))


@pytest.mark.parametrize(
    "written",
    [
        "13812345678", "+86 138 1234 5678", "008613812345678", "8613812345678", "138-1234-5678",
        "１３８１２３４５６７８", "＋８６ １３８ １２３４ ５６７８", "+86 (138) 1234.5678", "+86-138-1234-5678",
        "0086 138 1234 5678", "138\u20111234\u20115678", " 13812345678 ", "013812345678",
        "١٣٨١٢٣٤٥٦٧٨",
    ],
)  # fmt: skip
def test_a_number_is_one_customer_however_it_is_written(written: str) -> None:
    assert e164(written, "CN") == "+8613812345678"
    assert customer_of(written, KEY, "CN") == customer_of("+8613812345678", KEY, "DE")


@pytest.mark.parametrize(
    ("written", "country", "number"),
    [
        ("010-8765 4321", "CN", "+861087654321"),
        ("+49 30 901820", "CN", "+4930901820"),
        ("030 901820", "DE", "+4930901820"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("07911 123456", "GB", "+447911123456"),
        ("13812345678", "US", "+13812345678"),  # there it is another number
    ],
)
def test_a_number_without_a_country_is_of_the_default_one(
    written: str, country: str, number: str
) -> None:
    assert e164(written, country) == number


@pytest.mark.parametrize("written", ["10086", "123", "", "anonymous", "+", "1" * 20])
def test_what_cant_be_dialled_from_anywhere_is_nobody(written: str) -> None:
    assert e164(written, "CN") is None
    assert customer_of(written, KEY, "CN") is None


@pytest.mark.parametrize("start", range(130, 200, 7))
@pytest.mark.parametrize("before", ["", "86", "+86", "0086"])
def test_the_quick_way_ends_where_the_library_does(start: int, before: str) -> None:
    written = f"{before}{start}00112233"
    parsed = phonenumbers.parse(written, "CN")
    wanted = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    assert e164(written, "CN") == wanted


def test_an_identity_is_of_its_organisation_and_key_and_holds_no_number() -> None:
    number = "13812345678"
    one = customer_of(number, KEY, "CN")
    assert one is not None
    assert re.fullmatch(r"tel:[a-z2-7]{32}", one)
    assert one == "tel:" + one[4:]
    others = {
        customer_of(number, identity_key(b"k" * 32, UUID(int=2)), "CN"),
        customer_of(number, identity_key(b"l" * 32, UUID(int=1)), "CN"),
        customer_of("13812345679", KEY, "CN"),
        one,
    }
    assert len(others) == 4
