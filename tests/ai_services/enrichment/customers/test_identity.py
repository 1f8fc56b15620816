"""One number is one customer, however it is written, and nobody reads it from the identity."""

from __future__ import annotations

import re
from uuid import UUID

import phonenumbers
import pytest

from ai_services.enrichment.customers.identity import customer_of, identity_key
from ai_services.enrichment.validation.phone_number import read_phone

KEY = identity_key(b"k" * 32, UUID(int=1))


def e164(written: str, country: str) -> str | None:
    return read_phone(written, country).number


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


@pytest.mark.parametrize(
    ("spelled", "digits", "country"),
    [
        ("1-800-FLOWERS", "1-800-356-9377", "US"),
        ("1-800-flowers", "(800) 356 9377", "US"),
        ("+1 800 FLOWERS", "+18003569377", "CN"),
        ("1-800-FLOWERS ext. 5", "+18003569377", "US"),
        ("1300 FLOWER", "1300 356 937", "AU"),
        ("400-FLOWERS", "400-356-9377", "CN"),
    ],
)
def test_a_service_that_is_spelled_is_who_its_digits_are(
    spelled: str, digits: str, country: str
) -> None:
    number = e164(spelled, country)
    assert number is not None
    assert number == e164(digits, country)


@pytest.mark.parametrize(
    ("written", "country"),
    [
        ("1-800-FLOWERS", "CN"),  # its digits are somebody's mobile number there
        ("138XX345678", "CN"), ("138ABC45678", "CN"), ("138 1234 JIAN", "CN"), ("415-555-HOME", "US"),
        ("room 1234567", "US"), ("800alice", "US"),
    ],
)  # fmt: skip
def test_letters_that_spell_no_service_are_no_digits(written: str, country: str) -> None:
    assert e164(written, country) is None


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
    number = e164(written, "CN")
    assert number is None or customer_of(number, KEY) is None


@pytest.mark.parametrize("start", range(130, 200, 7))
@pytest.mark.parametrize("before", ["", "86", "+86", "0086"])
def test_the_quick_way_ends_where_the_library_does(start: int, before: str) -> None:
    written = f"{before}{start}00112233"
    parsed = phonenumbers.parse(written, "CN")
    wanted = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    assert e164(written, "CN") == wanted


def test_an_identity_is_of_its_organisation_and_key_and_holds_no_number() -> None:
    number = "+8613812345678"
    one = customer_of(number, KEY)
    assert one is not None
    assert re.fullmatch(r"tel:[a-z2-7]{32}", one)
    assert one == "tel:" + one[4:]
    others = {
        customer_of(number, identity_key(b"k" * 32, UUID(int=2))),
        customer_of(number, identity_key(b"l" * 32, UUID(int=1))),
        customer_of("+8613812345679", KEY),
        one,
    }
    assert len(others) == 4
