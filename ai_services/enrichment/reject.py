"""What is wrong with a row, and the rejected row as it is shown to people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shared.ids import MAX_ID_CHARS, one_spelling
from shared.phones import mask_phone, mask_written

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
    callid: str | None = None  # where it could be read and can be shown


def make_reject(
    line: int, problem: Problem, raw: str, phone: str | None = None, callid: object = None
) -> Reject:
    """Bound and mask what is kept of a rejected row, and make it fit for any store.

    `phone` is the row's number as it stands in `raw`, where it is known: its cell is hidden
    whatever it holds. Elsewhere in the row, mapped or not, everything that looks like a number is.
    """
    value = problem.value[: 2 * MAX_VALUE_CHARS]
    value = _hide(value) if problem.field == "phone" else mask_written(value)
    if phone:
        raw = re.sub(rf"(?<!\d){re.escape(phone)}(?!\d)", lambda found: _hide(found[0]), raw)
    return Reject(
        line=line,
        field=_storable(mask_written(problem.field[:MAX_VALUE_CHARS])),
        value=_storable(value)[:MAX_VALUE_CHARS],
        problem=_storable(mask_written(problem.problem)),
        fix=_storable(mask_written(problem.fix)),
        raw=_storable(mask_written(raw))[:MAX_RAW_CHARS],
        callid=_shown_id(callid),
    )


def _shown_id(callid: object) -> str | None:
    if isinstance(callid, bool) or not isinstance(callid, str | int):
        return None
    shown = one_spelling(str(callid).strip())
    return shown if shown.isprintable() and 0 < len(shown) <= MAX_ID_CHARS else None


def _hide(phone: str) -> str:
    """A number, or what stands in its place."""
    return mask_phone(phone) if any(map(str.isdigit, phone)) else phone


def _storable(text: str) -> str:
    """Without NUL and lone surrogates, which no store takes."""
    return text.replace("\0", "\u2400").encode(errors="replace").decode()
