"""What is wrong with a row, and the rejected row as it is shown to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.security import mask_phone, mask_phones

MAX_VALUE_CHARS: Final = 200
MAX_RAW_CHARS: Final = 2_000


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
    """Bound and mask what is kept of a rejected row.

    `phone` is the row's number as it stands in `raw`. Where it is not known, or is spelt
    otherwise there, every run of digits that looks like a number is masked instead.
    """
    value = problem.value[:MAX_VALUE_CHARS]
    if problem.field == "phone":
        value = mask_phone(value) if any(c.isdigit() for c in value) else value
    return Reject(
        line=line,
        field=problem.field,
        value=value if problem.field else mask_phones(value),
        problem=problem.problem,
        fix=problem.fix,
        raw=_mask_raw(raw[: MAX_RAW_CHARS + MAX_VALUE_CHARS], problem, phone)[:MAX_RAW_CHARS],
    )


def _mask_raw(raw: str, problem: Problem, phone: str | None) -> str:
    if not problem.field:
        return mask_phones(raw)
    if phone is None:
        return raw
    if phone in raw:
        return raw.replace(phone, mask_phone(phone))
    return mask_phones(raw)
