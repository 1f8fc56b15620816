"""What is wrong with a row, and the rejected row as it is shown to people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shared.ids import MAX_ID_CHARS, one_spelling
from shared.phones import mask_phone, mask_written

MAX_VALUE_CHARS: Final = 200
MAX_RAW_CHARS: Final = 2_000
_READ_CHARS: Final = 8_192  # of a row: escapes and marks shrink when they are masked
_FEWEST_DIGITS: Final = 7  # of a phone cell that is looked for in the rest of its row
# What may be a part of a number: digits, marks between them, the E of a power, escapes. The end of a
# text is looked at from behind, so that it costs no more than it is long.
_PART: Final = r"""[^\w,;"'\n\r\t\[\]{}|<>=]|[\d_eE]"""
_HEAD: Final = re.compile(rf"[0-9A-Za-z]*+(?:\\u[0-9a-fA-F]{{4}}|{_PART})*+")
_TAIL: Final = re.compile(rf"(?:[0-9a-fA-F]{{0,4}}u\\|{_PART})*+")


# At most a third of a number's digits, and four at its end.
_HIDES_ITSELF: Final = re.compile(
    r"\d[.,]?\d{0,2}[eE]\+?\d{1,2}|\+?\d{0,5}[*xX•]{4,}\d{0,4}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A wrong value: its field, the value, what is wrong, what would be right.

    `field` is empty where the whole row is unreadable.
    """

    field: str
    value: str
    problem: str
    fix: str


class Damage(Problem):
    """A wrong value that shows that the whole record is damaged, whichever field it is in: half a
    character, a number that is none, a key that stands twice.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken. `line` is 1-based; phone numbers are masked everywhere."""

    line: int
    field: str
    value: str
    problem: str
    fix: str
    raw: str
    callid: str | None = None  # where it could be read and can be shown


def make_reject(
    line: int, problem: Problem, raw: str, phone: str | None = None, callid: object = None
) -> Reject:
    """Bound and mask what is kept of a rejected row, and make it fit for any store.

    `phone` is the row's number as it stands in `raw`, where it is known: its cell is hidden
    whatever it holds. Elsewhere in the row, mapped or not, everything that looks like a number is.
    """
    raw = excerpt(raw, chars=_READ_CHARS)
    if phone:
        raw = _phone_cell(phone).sub(lambda found: _hide(found[0]), raw)
    return Reject(
        line,
        *shown_problem(problem),
        raw=_storable(mask_written(raw))[:MAX_RAW_CHARS],
        callid=_shown_id(callid),
    )


def shown_problem(problem: Problem) -> tuple[str, str, str, str]:
    """Field, value, problem and fix as anybody may see them, and any store keeps them."""
    value = excerpt(problem.value)
    value = _hide(value) if problem.field == "phone" else mask_written(value)
    return (
        _storable(mask_written(excerpt(problem.field, chars=MAX_VALUE_CHARS))),
        _storable(value)[:MAX_VALUE_CHARS],
        _storable(mask_written(problem.problem)),
        _storable(mask_written(problem.fix)),
    )


def excerpt(text: str, start: int = 0, chars: int = 2 * MAX_VALUE_CHARS) -> str:
    """A part of a text that can be masked by itself: where it is cut, it ends before what may be a
    part of a number, which nobody would know for one.
    """
    part = text[max(0, start) : max(0, start) + chars]
    if max(0, start) + chars < len(text):
        end = _TAIL.match(part[::-1])
        part = part[: len(part) - end.end()] if end else part
    begin = _HEAD.match(part) if start > 0 else None
    return part[begin.end() :] if begin else part


def _phone_cell(phone: str) -> re.Pattern[str]:
    """Where the row's number stands. A short one, which may be a 0 or a year that fills the cell, is
    sought under the key `phone` only: elsewhere it is another value.
    """
    cell = rf"(?<!\d){re.escape(phone)}(?!\d)"
    if sum(map(str.isdigit, phone)) >= _FEWEST_DIGITS:
        return re.compile(cell)
    keys = ('"phone":', '"phone": ', '"phone":"', '"phone": "')
    return re.compile("|".join(f"(?<={key}){cell}" for key in keys))


def _shown_id(callid: object) -> str | None:
    if isinstance(callid, bool) or not isinstance(callid, str | int):
        return None
    shown = one_spelling(str(callid).strip())
    return shown if shown.isprintable() and 0 < len(shown) <= MAX_ID_CHARS else None


def _hide(phone: str) -> str:
    """A number, or what stands in its place. What hides the digits itself (`138****5678`, `1.38E+10`)
    is shown as it is: it says why it can't be read.
    """
    if not any(map(str.isdigit, phone)) or _HIDES_ITSELF.fullmatch(phone.strip()):
        return phone
    return mask_phone(phone)


def _storable(text: str) -> str:
    """Without NUL and lone surrogates, which no store takes."""
    return text.replace("\0", "\u2400").encode(errors="replace").decode()
