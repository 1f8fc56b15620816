"""What counts as personal data in a text, and what doesn't."""

from __future__ import annotations

import time

import orjson
import pytest
from hypothesis import given, settings

from ai_services.llm.privacy.personal import personal_data
from tests.ai_services.llm.privacy.values import (
    CARDS,
    CHINESE,
    EMAILS,
    IDS,
    MOBILES,
    TEXTS,
    card_number,
)


def found(text: str) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in personal_data(text)]


@pytest.mark.parametrize(
    "number",
    [
        "13800138000",
        "138 0013 8000",
        "138-0013-8000",
        "138.0013.8000",
        "+8613800138000",
        "+86 138 0013 8000",
        "+86-138-0013-8000",
        "86 13800138000",
        "8613800138000",
        "0086 138 0013 8000",
        "013800138000",
        "１３８００１３８０００",
        "１３８－００１３－８０００",
        "138\u200b0013\u200b8000",
        "1 3 8 0 0 1 3 8 0 0 0",
        "010-87654321",
        "010 8765 4321",
        "(010) 8765-4321",
        "（010）87654321",
        "0571-8765432",
        "057187654321",
        "01087654321",
        "+86 10 8765 4321",
        "86-10-87654321",
        "400-820-8820",
        "4008208820",
        "400 8208 820",
        "+1 415 555 0123",
        "+1 (415) 555-0123",
        "+49 30 901820",
        "0049 30 901820000",
        "+442071838750",
    ],
)
def test_a_phone_number_is_found_however_it_is_written(number: str) -> None:
    assert found(f"我的号码是{number}谢谢") == [("PHONE", number)]
    assert found(f"call {number}, please") == [("PHONE", number)]
    assert found(number) == [("PHONE", number)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("11010519491231002X", "ID"),
        ("11010519491231002x", "ID"),
        ("110105 19491231 002X", "ID"),
        ("１１０１０５１９４９１２３１００２Ｘ", "ID"),
        ("440524188001010014", "ID"),
        ("6222021234567890128", "CARD"),
        ("4111 1111 1111 1111", "CARD"),
        ("4111-1111-1111-1111", "CARD"),
        ("378282246310005", "CARD"),
        ("3782 822463 10005", "CARD"),
        ("a.b+c@example.com", "EMAIL"),
        ("zhang_san@mail.example.com.cn", "EMAIL"),
        ("a＠example．com", "EMAIL"),
        ("13800138000@139.com", "EMAIL"),
    ],
)
def test_other_kinds_are_found(text: str, kind: str) -> None:
    assert found(f"是{text}吗") == [(kind, text)]
    assert found(f"it is {text}.") == [(kind, text)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-03-05 14:20:00",
        "2024-01-01 到 2024-12-31",
        "1709619600123",
        "1709619600",
        "20240305142000",
        "2024030514200012",
        "192.168.100.200",
        "¥1,380,013.80",
        "4000000000元",
        "订单 202403051234567890123",
        "110105194912310021",  # the check digit is wrong
        "11010519491331002X",  # there is no such month
        "4111 1111 1111 1112",  # no Luhn
        "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11",
        "6888-8888",
        "12345678901",
        "913800138000",
        "0.13800138",
        "13 45 67 89 100 200",
        "a@b",
        "@example.com",
        "1+1=2",
    ],
)
def test_what_is_none_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_several_in_one_text_are_told_apart() -> None:
    text = "张三13800138000，李四139-1234-5678（转8001），卡6222021234567890128，a@b.cn/c@d.cn"
    assert found(text) == [
        ("PHONE", "13800138000"),
        ("PHONE", "139-1234-5678"),
        ("CARD", "6222021234567890128"),
        ("EMAIL", "a@b.cn"),
        ("EMAIL", "c@d.cn"),
    ]
    assert found("13800138000 13900139000") == [
        ("PHONE", "13800138000"),
        ("PHONE", "13900139000"),
    ]
    assert found("4111 1111 1111 1111 123") == [("CARD", "4111 1111 1111 1111")]
    assert found("6222 0212 3456 7890 128") == [("CARD", "6222 0212 3456 7890 128")]
    assert found("12 345@b.com") == [("EMAIL", "345@b.com")]


@given(CHINESE, MOBILES | IDS | CARDS, CHINESE)
def test_a_number_in_chinese_text_is_found_whole(before: str, number: str, after: str) -> None:
    assert [value for _, value in found(before + number + after)] == [number]


@settings(max_examples=50)
@given(CHINESE, EMAILS, CHINESE)
def test_an_address_in_chinese_text_is_found_whole(before: str, address: str, after: str) -> None:
    assert found(before + address + after) == [("EMAIL", address)]


@settings(max_examples=50)
@given(TEXTS)
def test_values_stand_in_order_and_need_no_escaping(text: str) -> None:
    at = 0
    for one in personal_data(text):
        assert at <= one.start < one.end <= len(text)
        at = one.end
        value = text[one.start : one.end]
        assert orjson.dumps(value).decode() == f'"{value}"'
        assert len(value) >= 6
        assert not {"[", "]"} & set(value)


def test_a_card_needs_its_check_digit() -> None:
    good = card_number("622202123456789012")
    assert found(good) == [("CARD", good)]
    assert found(good[:-1] + str((int(good[-1]) + 1) % 10)) == []


@pytest.mark.parametrize(
    "piece", ["1", "1 ", "a", "a.", "a@", "a@a.", "(", "12-", "1x", "+1", "１"]
)
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    began = time.process_time()
    personal_data(text)
    assert time.process_time() - began < 3
