"""Where personal data stands in a text: phone, id-card and bank-card numbers, e-mail addresses.

Chinese text has no spaces around them, so that only digits beside a number make it another one.
Full-width digits and marks count as the plain ones. What counts:

- phone numbers: Chinese mobiles and fixed lines with their area code, 400 and 800 numbers, any
  number with + or 00 and a country code; in one run of digits or grouped as they are usually
  written. A local number without area code can't be told from an amount or a range of years.
- id-card numbers of 18 digits (GB 11643) that have a date and the right check digit
- bank-card numbers of 13 to 19 digits that pass the Luhn check (ISO/IEC 7812)
- e-mail addresses in ASCII (RFC 5322 without quotes)

No value holds a character that JSON escapes: in a JSON text it stands as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from string import ascii_letters, digits
from typing import Final, Literal

Kind = Literal["PHONE", "ID", "CARD", "EMAIL"]
_LETTERS: Final = r"[A-Za-z0-9._%+-]"
_EMAIL: Final = re.compile(
    rf"(?<!{_LETTERS}){_LETTERS}++@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{{2,}}"
)
_PLAIN: Final = (
    {0xFEE0 + ord(one): ord(one) for one in f"{ascii_letters}{digits}@.+-()_%"}
    | dict.fromkeys((0x3000, 0xA0, 0x202F, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xAD), " ")
    | dict.fromkeys(range(0x2000, 0x200B), " ")
    | dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-")
)
_SPELLED: Final = re.compile(f"[{re.escape(''.join(map(chr, _PLAIN)))}]")
_MAYBE: Final = re.compile(r"[0-9０-９@＠]")

# Digits that could be a number, with what may stand between them.
_SPAN: Final = re.compile(r"[0-9][0-9 \-.()]{5,}[0-9Xx]")
_S: Final = r"[ \-.()]{1,3}"
_S0: Final = r"[ \-.()]{0,3}"
_CHINA: Final = rf"(?:\+|00)?86{_S0}"
_MOBILE: Final = "|".join(
    (
        r"1[3-9][0-9]{9}",
        rf"1[3-9][0-9]{_S}[0-9]{{4}}{_S}[0-9]{{4}}",
        rf"1[3-9][0-9]{_S}[0-9]{{8}}",
        rf"1[3-9][0-9]{{5}}{_S}[0-9]{{4}}",
        rf"1[3-9][0-9]{{2}}{_S}[0-9]{{4}}{_S}[0-9]{{3}}",
        rf"1[3-9][0-9]{_S}[0-9]{{3}}{_S}[0-9]{{5}}",
        rf"1[3-9][0-9]{{3}}{_S}[0-9]{{6}}",
        rf"1[3-9][0-9]{{2}}{_S}[0-9]{{3}}{_S}[0-9]{{4}}",
        rf"1{_S}[3-9](?:{_S}[0-9]){{9}}",
    )
)
_FIXED: Final = (
    rf"(?:(?:10|2[0-9]){_S0}[2-9][0-9]{{3}}(?:{_S})?[0-9]{{4}}"
    rf"|[3-9][0-9]{{2}}{_S0}[2-9][0-9]{{2,3}}(?:{_S})?[0-9]{{4}})"
)
_PHONE: Final = "|".join(
    (
        rf"(?:{_CHINA})?(?:0{_S0})?(?:{_MOBILE})",
        rf"{_CHINA}0?{_FIXED}",
        rf"0{_FIXED}",
        rf"[48]00{_S}[0-9]{{3,4}}{_S}[0-9]{{3,4}}",
        rf"[48]00(?:{_S}[0-9]{{7}}|[0-9]{{7}}(?<!000)|[0-9]{_S}[0-9]{{3}}{_S}[0-9]{{3}})",
        rf"\+[1-9](?:{_S0}[0-9]){{6,14}}",
        rf"00[1-9](?:{_S0}[0-9]){{8,14}}",
    )
)
_T: Final = r"[ \-]{1,2}"
_T0: Final = r"[ \-]{0,2}"
_ID: Final = (
    rf"[1-9][0-9]{{5}}{_T0}(?:18|19|20)[0-9]{{2}}{_T0}[0-9]{{4}}{_T0}"
    r"[0-9]{3}(?:[0-9]|[Xx](?![A-Za-z]))"
)
_CARD: Final = "|".join(
    (
        r"[2-689][0-9]{12,18}",
        rf"[2-689][0-9]{{3}}(?:{_T}[0-9]{{4}}){{2}}{_T}[0-9]{{1,4}}(?:{_T}[0-9]{{1,3}})?",
        rf"3[47][0-9]{{2}}{_T}[0-9]{{6}}{_T}[0-9]{{5}}",
        rf"6[0-9]{{5}}{_T}[0-9]{{7,13}}",
    )
)
_NUMBER: Final = re.compile(
    rf"(?<![0-9])(?:(?P<ID>{_ID})|(?P<PHONE>{_PHONE})|(?P<CARD>{_CARD}))(?![0-9])"
)
_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS: Final = "10X98765432"
_ISSUED: Final = re.compile(  # as the networks have their numbers, the longest of UnionPay
    r"4[0-9]{12}|3[0689][0-9]{12}|3[47][0-9]{13}"
    r"|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|[3-689][0-9]{15,18}"
)
_BETWEEN: Final = re.compile(r"[ \-]+")


@dataclass(frozen=True, slots=True)
class Found:
    """A value in a text, from `start` to before `end`."""

    start: int
    end: int
    kind: Kind


def personal_data(text: str) -> list[Found]:
    """All of it, in its order; no two overlap."""
    if _MAYBE.search(text) is None:
        return []
    plain = text if text.isascii() or not _SPELLED.search(text) else text.translate(_PLAIN)
    found, at = list[Found](), 0
    for match in _EMAIL.finditer(plain) if "@" in plain else ():
        found += _numbers(plain, at, match.start())
        found.append(Found(match.start(), match.end(), "EMAIL"))
        at = match.end()
    return [*found, *_numbers(plain, at, len(plain))]


def _numbers(plain: str, start: int, end: int) -> Iterator[Found]:
    for span in _SPAN.finditer(plain, start, end):
        at = max(start, span.start() - 1)  # there may be a +
        # What stands behind the span decides whether it has ended.
        while match := _NUMBER.search(plain, at, min(end, span.end() + 1)):
            found = _checked(plain, match)
            at = match.start() + 1 if found is None else found.end
            if found is not None:
                yield found


def _checked(plain: str, match: re.Match[str]) -> Found | None:
    start, end = match.span()
    if match["PHONE"]:
        if plain[start - 1 : start] == "(" and ")" in match[0]:
            start -= 1
        return Found(start, end, "PHONE")
    if match["ID"] and _is_id(_BETWEEN.sub("", match[0])):
        return Found(start, end, "ID")
    return _card(match)


def _is_id(number: str) -> bool:
    try:
        date.fromisoformat(number[6:14])
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, _ID_WEIGHTS, strict=False))
    return _ID_CHECKS[total % 11] == number[-1].upper()


def _card(match: re.Match[str]) -> Found | None:
    """The number whole, or without its last group: the card's own check code is often behind it."""
    start = match.start()
    last = max(match[0].rfind(" "), match[0].rfind("-"))
    shorter = match[0][:last].rstrip(" -") if last > 0 else ""
    for number in (match[0], shorter):
        if _is_card(_BETWEEN.sub("", number)):
            return Found(start, start + len(number), "CARD")
    return None


def _is_card(number: str) -> bool:
    if _ISSUED.fullmatch(number) is None:
        return False
    doubled = (2 * int(digit) for digit in number[-2::-2])
    total = sum(map(int, number[-1::-2])) + sum(two - 9 if two > 9 else two for two in doubled)
    return total % 10 == 0
