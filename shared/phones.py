"""Phone numbers in texts, masked: `13812348000` becomes `138****8000`.

Whatever looks like a number that can be dialled is masked, however it is spaced, bracketed or
widened, with or without a country code, also inside of words, keys and JSON. What is left alone,
so that logs and rejected rows stay of use:

- dates and times in digits, Unix times (10 digits that begin with 1; 13 likewise), IPv4 addresses,
  Unix times with a fraction too; UUIDs, decimal fractions (not 3.13812348000, a number in a list);
- runs of less than 9 or more than 15 digits: amounts, durations, most ids. A local number of 7 or 8
  digits is masked where it is written as one (6888-8888), or stands where a number is expected.

An id of 10 to 15 digits is masked too: it can't be told from a number.
"""

from __future__ import annotations

import json
import re
import unicodedata
from decimal import Decimal
from typing import Final

_LONGEST: Final = 15  # ITU-T E.164
# What may stand between two digits of one number: blanks, hyphens, dots, brackets, also the wide
# ones and those that nobody sees. No line end, tab or comma, which separate cells.
_SEP: Final = (
    r"[ \-.()/\u00a0\u00ad\u00b7\u2000-\u2015\u202f\u2060\u2212\u3000\ufeff（）－．／・]{0,4}"
)
# In a mobile number, which no other number looks like, also marks that aren't meant to be read. Four
# asterisks are a number masked already.
_MARKS: Final = rf"(?:{_SEP.removesuffix('{0,4}')}|[_:~＿：～•]|(?<!\*)\*{{1,3}}(?!\*)|＊){{0,4}}"
_SEPARATED: Final = _SEP.replace("{0,4}", "{1,4}")

_AFTER_ESCAPE: Final = r"(?<=\\[bfnrt])"  # the end of a line in JSON is no letter before a number

_KEPT: Final = (
    # UUID
    r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])",
    # 2024-03-05, 2024/3/5, 05.03.2024
    r"(?<![\d.])(?:19|20)\d\d(?P<a>[-/.])(?:1[0-2]|0?[1-9])(?P=a)(?:3[01]|[12]\d|0?[1-9])(?!\d)",
    r"(?<![\d.])[0-3]?\d(?P<b>[-/.])[0-3]?\d(?P=b)(?:19|20)\d\d(?!\d)",
    # 14:20:00.123456+0800, 02.20.00.000000
    r"(?<!\d)\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:[+-]\d\d:?\d\d)?(?!\d)",
    r"(?<![\d.])[0-2]?\d\.[0-5]\d\.[0-5]\d(?:\.\d{1,9})?(?!\.?\d)",
    # 0.13812348000; above one it can't be told from the number in a list: 3.13812348000
    r"(?<![\d.])0\.\d{5,}(?!\.?\d)",
    # Unix seconds with a fraction, 1709619600.5
    r"(?<![\d.])1\d{9}\.\d{1,9}(?!\.?\d)",
    # IPv4
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)",
)
_NUMBERS: Final = (
    # As spreadsheets write it: 1.3812345678E+10
    r"(?<![\d.])(?P<power>\d{1,15}\.\d{5,}[eE]\+?\d{1,2})(?!\d)",
    # Chinese mobiles, 11 digits from 13 to 19, with 86 or 0 before them or without
    rf"(?<!\d)(?:(?:[+＋]|00)?{_SEP}86{_MARKS})?(?:0{_MARKS})?1{_MARKS}[3-9](?:{_MARKS}\d){{9}}(?!\d)",
    # A country code with its mark
    rf"(?:[+＋]|(?<!\d)00(?=[-. (]?[1-9])){_SEP}\d(?:{_SEP}\d){{6,14}}(?!\d)",
    # China's country code without a mark, and an area code: 86 10 8765 4321
    rf"(?<![\d.])86{_SEPARATED}[1-9](?:{_SEP}\d){{8,10}}(?!\d)",
    # An area code in brackets or from 01
    rf"(?<![\d.])[(（]?0{_SEP}[1-9](?:{_SEP}\d){{7,10}}(?!\d)",
    # Groups: 415-555-0123, (415) 555 0123, 400 800 8820, 1-800-555-0199, 6888-8888
    rf"(?:(?<![A-Za-z\d_.-])|{_AFTER_ESCAPE})(?P<groups>(?:1{_SEPARATED})?\d{{3,4}}(?:{_SEPARATED}\d{{3,8}}){{1,3}})(?![A-Za-z\d_])",
    # Digits alone
    rf"(?:(?<![A-Za-z\d_.])|{_AFTER_ESCAPE})(?P<digits>\d{{10,15}})(?![A-Za-z\d_])",
)
_CANDIDATE: Final = re.compile(f"(?P<kept>{'|'.join(_KEPT)})|{'|'.join(_NUMBERS)}")
_NO_GROUPS: Final = re.compile(r"\d+\.\d+|(?:19|20)\d\d-\d+")  # decimals; 2024-000123
_LOCAL: Final = re.compile(r"[2-9]\d{2,3}[-\u2010-\u2015]\d{4}")
_MAYBE: Final = re.compile(rf"\d(?:{_MARKS}\d){{6}}")
_FOREIGN_DIGIT: Final = re.compile(r"(?![0-9])\d")  # wide, Arabic …
_ESCAPED: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
)
_STAMP: Final = re.compile(
    r"(?:1\d{9}|1\d{12}"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)"
)


def mask_phone(phone: str) -> str:
    """`13812348000` → `138****8000`; shorter numbers keep less, never more than half."""
    digits = re.sub(r"\D", "", phone)
    if len(digits) > _LONGEST:
        return f"****{digits[-4:]}"
    if len(digits) >= 11:
        return f"{digits[:-8]}****{digits[-4:]}"
    keep = len(digits) // 4
    return f"{digits[:keep]}****{digits[len(digits) - keep :] if keep else ''}"


def mask_phones(text: str) -> str:
    """`text` with everything that looks like a phone number masked."""
    if not _MAYBE.search(text):
        return text
    if text.isascii() or not _FOREIGN_DIGIT.search(text):
        return _CANDIDATE.sub(_masked, text)
    # Looked for in ASCII; what is masked is written so, the rest stays as it was.
    plain = _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)
    kept, at = [], 0
    for match in _CANDIDATE.finditer(plain):
        masked = _masked(match)
        kept += [
            text[at : match.start()],
            text[slice(*match.span())] if masked == match[0] else masked,
        ]
        at = match.end()
    return "".join([*kept, text[at:]])


def mask_written(text: str) -> str:
    """The same for a text that may hold JSON escapes, which hide digits: they are read first."""
    return mask_phones(_ESCAPED.sub(_plain, text))


def _masked(match: re.Match[str]) -> str:
    found = match[0]
    if match["kept"]:
        return found
    if match["power"]:
        whole = Decimal(match["power"])
        written = f"{whole:.0f}" if whole.adjusted() < 20 else ""
        return mask_phone(written) if 7 <= len(written) <= _LONGEST else found
    digits = re.sub(r"\D", "", found)
    if match["digits"]:
        return found if _STAMP.fullmatch(digits) else mask_phone(digits)
    if match["groups"] and not _is_grouped_number(found, digits):
        return found
    return mask_phone(found)


def _is_grouped_number(found: str, digits: str) -> bool:
    if not 7 <= len(digits) <= _LONGEST or _NO_GROUPS.fullmatch(found):
        return False
    return len(digits) >= 9 or _LOCAL.fullmatch(found) is not None


def _plain(match: re.Match[str]) -> str:
    character: str = json.loads(f'"{match[0]}"')
    is_plain = unicodedata.category(character) not in ("Cc", "Cs") and character not in '"\\'
    return character if is_plain else match[0]
