"""Phone numbers as switches, spreadsheets and people write them → one spelling (ITU-T E.164).

`138 1234 5678`, `0086-138…`, `tel:+86 138…` and `sip:13812345678@pbx` are one number:
`+8613812345678`. So are `1-800-FLOWERS` and `1-800-356-9377`, where letters spell a service number of
the country: any other word with digits before it is no number. Short numbers (extensions, service lines) have no such form: they stay as dialled.
What isn't a number (`anonymous`, `138****5678`) has none, with a reason that can be told.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

import phonenumbers
import polars as pl

from ai_services.enrichment.validation.record import PHONE_DIGITS
from ai_services.enrichment.validation.written import ROUNDED, exact_number

DEFAULT_COUNTRY: Final = "CN"
_LEAST, _MOST = PHONE_DIGITS
_FIX: Final = (
    f"write {_LEAST} to {_MOST} digits, with a leading + for the country code if known, or leave it "
    "empty"
)
_WITHHELD: Final = (
    "withholds the number, or knows none",
    "leave the cell empty where no number is known",
)
# What stands where a number was withheld or never known; compared without case and marks.
_NOBODY_WORDS: Final = """
    anonymous anonym restricted private privat privacy withheld blocked hidden secret
    unknown unavailable notavailable no nocaller undefined unidentified payphone
    coinphone unallocated asserted na none null nil nan void empty tbd 匿名 未知 隐藏 隱藏 保密 隐私
    无 無 空 无号码 無號碼 未知号码 未知號碼 隐藏号码 私人号码 匿名号码 未提供 不详 不詳 不明 无法显示 未显示 非通知 通知不可能 公衆電話 알수없음
    발신번호표시제한 anonyme inconnu masqué unbekannt unterdrückt anónimo desconocido privado
    неизвестен скрыт
"""
_NOBODY: Final = frozenset(_NOBODY_WORDS.split())
# The same words as a telephone's keys spell them: what Twilio hands over for a withheld number.
_NOBODYS: Final = ("caller", "number", "user", "id", "来电", "號碼", "号码")
_KEYPAD: Final = frozenset({"266696687", "7378742833", "2562533", "8656696", "86282452253"})
_ADDRESS: Final = re.compile(r"^[^<]*<([^<>]+)>$")
_SCHEME: Final = re.compile(
    r"^(?:tel|sips?|callto|whatsapp|phone|mailto|client|user|h323|iax2?):/*", re.IGNORECASE
)
_CHANNEL: Final = re.compile(
    r"^(?:PJ)?(?:SIP|IAX2|DAHDI|Local)/([^/@-]+)(?:[-@/].*)?$", re.IGNORECASE
)
# Each begins with a word or a mark, and what stands before that is taken away afterwards: from every
# blank of a run on, a pattern would go through the rest of it.
_EXTENSION: Final = re.compile(
    r"""(?:;\s?ext\s?=|\b(?:ext(?:ension|n)?|int|poste|durchwahl|dw)\b\.?|(?<=[\d\s)])x|доб\.?
        |内线|內線|分机|分機|转接|转|轉|転|(?<=\d)[#pPwW]|,{1,2})[\s:：.]*+\d{1,8}$""",
    re.IGNORECASE | re.VERBOSE,
)
_BEFORE_EXTENSION: Final = " ,;/"
# A Chinese number after its area code, or a 400 number, and a dash more: 010-68888888-801.
_DASH_EXTENSION: Final = re.compile(
    r"""^((?:(?:(?:\+|00)?86[-\s.]*)?\(?0[1-9]\d{1,2}\)?|(?:\+|00)?86[-\s.]*\d{2,3})[-\s]?(?:\d{7,8}|\d{3,4}[-\s]\d{4})
        |[48]00[-\s]?(?:\d{7}|\d{3}[-\s]?\d{4}|\d{4}[-\s]?\d{3}))-(\d{1,6})$""",
    re.VERBOSE,
)
_MASK: Final = re.compile(
    r"\d\s?(?:[*•●·×＊]{2}|[xX_#]{3})"
    r"|(?:(?<![*•●×＊])[*•●×＊]{2,}+|(?<![xX#])[xX#]{3,}+)\s?\d|\*{3}"
)
_TRUNK: Final = re.compile(r"^((?:\+|00)\d{1,3}[\s.-]*)\(0\)")
_SEVERAL: Final = re.compile(r"(?<!\d)\d{7,}+\s?[/;,、，；|]\s?\+?\d{7}")
_FILLERS: Final = re.compile(r"[\s()\[\]{}\-.·・/\u2010-\u2015\u2212]")
_MARKS: Final = re.compile(r"[\s._\-/()（）<>\"'*#?？]")
_NUMBER: Final = re.compile(rf"\+?[0-9]{{{_LEAST},{_MOST}}}")
_OWN_CODE: Final = re.compile(r"^(?:\+|00)?86(1[3-9]\d{9})$")
# The code in digits, then a word of three letters or more.
_SPELLED: Final = re.compile(r"\+?[0-9]{3,}+[A-Za-z](?:[0-9]*+[A-Za-z]){2}[A-Za-z0-9]*+")
_SERVICES: Final = frozenset(
    {
        phonenumbers.PhoneNumberType.TOLL_FREE,
        phonenumbers.PhoneNumberType.SHARED_COST,
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.UAN,
    }
)
_LONGEST: Final = 200  # characters of a cell
_REMEMBERED: Final = 16_384
_FEWEST_OF_A_COUNTRY: Final = 10  # digits that are a whole number without a second look


class Phone(NamedTuple):
    """`number` None where there is none; `problem` says why, or what was left out of it."""

    number: str | None
    problem: str = ""
    fix: str = ""


def is_country(value: object) -> bool:
    """Whether it is the two letters of a country that has phone numbers."""
    return isinstance(value, str) and value in phonenumbers.SUPPORTED_REGIONS


class PhoneReader:
    """Reads numbers and remembers them, for customers are called again and again. One per import: what
    it remembers goes with it, and nobody's number stays in memory.
    """

    def __init__(self) -> None:
        self._remembered = lru_cache(maxsize=_REMEMBERED)(read_phone)

    def read(self, text: str, country: str) -> Phone:
        """As `read_phone`."""
        return (self._remembered if len(text) <= _LONGEST else read_phone)(text, country)


def read_phone(text: str, country: str = DEFAULT_COUNTRY) -> Phone:
    """What a cell says of a number, in its one spelling; never raises.

    `country` (ISO 3166, two letters) is where numbers without a country code belong.
    """
    plain = _plain(text) if len(text) <= _LONGEST else text
    if len(plain) > _LONGEST:  # also for one wide letter that is many
        return Phone(None, "is not a phone number", _FIX)
    plain = plain if _names_nobody(plain) else _addressee(plain)
    if _names_nobody(plain):
        return Phone(None, *_WITHHELD)
    if (written := exact_number(plain)) is not None:
        if not written:
            return Phone(None, *ROUNDED)
        plain = written
    if _MASK.search(plain):
        return Phone(
            None, "is masked: digits are hidden", "export the whole number, or leave it empty"
        )
    if _SEVERAL.search(plain):
        return Phone(None, "holds more than one number", "keep one of them")
    return _number(*_without_extension(_TRUNK.sub(r"\1", plain)), country)


def read_phones(
    cells: pl.Series, country: str, reader: PhoneReader
) -> tuple[pl.Series, dict[str, Phone]]:
    """A column of cells → numbers, null where a cell has none; and what is to be told of cells."""
    column = pl.col(cells.name)
    if country == DEFAULT_COUNTRY:
        mobile = pl.concat_str(
            pl.lit("+86"), column.str.extract(r"^(?:(?:\+|00)?86)?(1[3-9][0-9]{9})$")
        )
    else:
        mobile = pl.lit(None, pl.String)
    # A country code and its number: nothing to change, but for a trunk 0 after the code.
    abroad = pl.when(
        column.str.contains(r"^\+[1-9][0-9]{9,13}$") & ~column.str.contains(r"^\+[0-9]{1,3}0")
    ).then(column)
    numbers = cells.to_frame().select(pl.coalesce(mobile, abroad).alias(cells.name)).to_series()
    if numbers.null_count() == cells.null_count():
        return numbers, {}
    missed = (numbers.is_null() & cells.is_not_null()).arg_true()
    told: dict[str, Phone] = {}
    found: list[str | None] = []
    for text in cells.gather(missed):
        phone = reader.read(text, country)
        found.append(phone.number)
        if phone.problem:
            told[text] = phone
    return numbers.scatter(missed, pl.Series(found, dtype=pl.String)), told


def _plain(text: str) -> str:
    """Wide letters as ASCII, each blank a single space; without what nobody sees, the quotes of
    spreadsheets, blanks around.
    """
    folded = unicodedata.normalize("NFKC", text)
    if not folded.isascii():
        folded = "".join(
            str(unicodedata.decimal(one)) if one.isdecimal() else one
            for one in folded
            if unicodedata.category(one) not in ("Cf", "Cc")
        )
    return " ".join(folded.split()).removeprefix("'").strip()


def _names_nobody(text: str) -> bool:
    word = _MARKS.sub("", text).casefold()
    if not word or word in _NOBODY:
        return True
    while word.endswith(_NOBODYS):
        word = next(word.removesuffix(one) for one in _NOBODYS if word.endswith(one))
    return word in _NOBODY


def _addressee(text: str) -> str:
    """The part of an address that may be a number: `"Bob" <sip:1001@pbx;transport=tcp>` → 1001."""
    if found := _ADDRESS.match(text):
        text = found[1].strip()
    bare = _SCHEME.sub("", text)
    if found := _CHANNEL.match(bare):
        return found[1]
    if "@" in bare:
        bare = bare.split("@", 1)[0]
    if bare != text and not bare.lower().partition(";")[2].startswith("ext="):
        bare = bare.partition(";")[0]
    return bare.strip()


def _without_extension(text: str) -> tuple[str, bool]:
    """The number, and whether an extension was left out."""
    if found := _EXTENSION.search(text):
        number = text[: found.start()].rstrip(_BEFORE_EXTENSION)
        if sum(map(str.isdecimal, number)) >= _LEAST:
            return number, True
    if found := _DASH_EXTENSION.match(text):
        return found[1], True
    return text, False


def _number(text: str, extended: bool, country: str) -> Phone:
    digits = _spelled_out(_FILLERS.sub("", text), country)
    if not _NUMBER.fullmatch(digits):
        return Phone(None, "is not a phone number", _FIX)
    if digits.lstrip("+") in _KEYPAD or not digits.strip("+0"):
        return Phone(None, *_WITHHELD)
    number = _international(digits, country)
    if extended:
        return Phone(number, "has an extension, which is left out", "nothing, if that is as meant")
    return Phone(number)


def _spelled_out(digits: str, country: str) -> str:
    """1800FLOWERS as 18003569377, where that is the number of a service. Other letters stay what they
    are: who reads 138XX345678 as a number calls somebody else.
    """
    if not _SPELLED.fullmatch(digits):
        return digits
    keyed: str = phonenumbers.convert_alpha_characters_in_number(digits)
    number = _international(keyed, country)
    if not number.startswith("+"):
        return digits
    is_service = phonenumbers.number_type(phonenumbers.parse(number)) in _SERVICES
    return keyed if is_service else digits


def _international(digits: str, country: str) -> str:
    """E.164 where the number has such a form, else the digits as they are."""
    abroad = None
    if digits.startswith("00") and len(digits) > _FEWEST_OF_A_COUNTRY:
        abroad = _parsed(f"+{digits[2:]}", country)
    return abroad or _parsed(digits, country) or digits


def _parsed(digits: str, country: str) -> str | None:
    if (own := _OWN_CODE.match(digits)) and (digits.startswith("+") or country == DEFAULT_COUNTRY):
        return f"+86{own[1]}"
    try:
        parsed = phonenumbers.parse(digits, country)
    except phonenumbers.NumberParseException:
        return None
    sure = phonenumbers.is_valid_number(parsed) or (
        len(digits) >= _FEWEST_OF_A_COUNTRY
        and phonenumbers.is_possible_number_with_reason(parsed)
        == phonenumbers.ValidationResult.IS_POSSIBLE
    )
    if not sure:
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
