"""Numbers and addresses of nobody, by their kinds, and texts around them."""

from __future__ import annotations

from datetime import date

from hypothesis import strategies as st

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def id_number(region: int, born: str, order: int) -> str:
    digits = f"{region:06}{born}{order:03}"
    return (
        digits + "10X98765432"[sum(int(d) * w for d, w in zip(digits, WEIGHTS, strict=True)) % 11]
    )


def card_number(digits: str) -> str:
    """`digits` and the one that makes them pass the Luhn check."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        twice = int(digit) * (2 if place % 2 == 0 else 1)
        total += twice - 9 if twice > 9 else twice
    return digits + str(-total % 10)


MOBILES = st.from_regex(r"\A1[3-9][0-9]{9}\Z")
IDS = st.builds(
    lambda region, born, order: id_number(region, f"{born:%Y%m%d}", order),
    st.integers(110000, 659999),
    st.dates(min_value=date(1900, 1, 1)),
    st.integers(0, 999),
).filter(lambda number: number[6:8] in ("19", "20"))
CARDS = st.from_regex(r"\A62[0-9]{13,16}\Z").map(card_number)
EMAILS = st.from_regex(r"\A[a-z0-9._]{1,8}@[a-z0-9]{1,5}\.(com|cn)\Z")
VALUES = MOBILES | IDS | CARDS | EMAILS
CHINESE = st.text("我的号码是，。请给回电谢\n「」【】", min_size=0, max_size=8)
LIKE_ONE = st.sampled_from(
    ["[PHONE_1]", "[PHONE_2]", "[ID_1]", "[", "]", "[PHONE_", "_1]", "[CARD_1"]
)
TEXTS = st.lists(
    CHINESE | VALUES | LIKE_ONE | st.text("0123456789-+ ()x@.ab[]", max_size=12) | st.text(),
    max_size=8,
).map("".join)
