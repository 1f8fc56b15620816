"""What is wrong with a row, and the rejected row as it is shown to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.security import mask_phone, mask_phones

MAX_VALUE_CHARS: Final = 200
MAX_RAW_CHARS: Final = 2_000
_LONGEST_NUMBER: Final = 15  # ITU-T E.164


@dataclass(frozen=True, slots=True)
class Problem:
    """A wrong value: its field, the value, what is wrong, what would be right.

    `field` is empty where the whole row is unreadable.
    """

    field: str
    value: str
    problem: str
    fix: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken. `line` is 1-based; phone numbers are masked everywhere."""

    line: int
    field: str
    value: str
    problem: str
    fix: str
    raw: str


def make_reject(line: int, problem: Problem, raw: str, phone: str | None = None) -> Reject:
    """Bound and mask what is kept of a rejected row, and make it fit for any store.

    `phone` is the row's number as it stands in `raw`. Where it is not known, or is spelt
    otherwise there, every run of digits that looks like a number is masked instead.
    """
    value = problem.value[:MAX_VALUE_CHARS]
    if not problem.field:
        value = mask_phones(value)
    elif problem.field == "phone":
        value = _hide(value)
    # A number must not survive because the end of the text cuts through it.
    kept = _mask_raw(raw[: MAX_RAW_CHARS + MAX_VALUE_CHARS], problem, phone)[:MAX_RAW_CHARS]
    return Reject(
        line=line,
        field=problem.field,
        value=_storable(value),
        problem=problem.problem,
        fix=problem.fix,
        raw=_storable(kept),
    )


def _mask_raw(raw: str, problem: Problem, phone: str | None) -> str:
    if not problem.field:
        return mask_phones(raw)
    if phone is None:
        return raw
    if phone in raw:
        return raw.replace(phone, _hide(phone))
    return mask_phones(raw)


def _hide(phone: str) -> str:
    """A number, or what stands in its place: more digits than a number has are hidden too."""
    digits = [c for c in phone if c.isdigit()]
    if not digits:
        return phone
    return mask_phone(phone) if len(digits) <= _LONGEST_NUMBER else f"****{''.join(digits[-4:])}"


def _storable(text: str) -> str:
    """Without NUL and lone surrogates, which no store takes."""
    return text.replace("\0", "\u2400").encode(errors="replace").decode()
