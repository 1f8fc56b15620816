"""UCI Bank Marketing rows as call records; `bank_marketing.toml` states every field's rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from ai_services.enrichment.validation.reject import Problem
from shared.calls import CONNECTED

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_WEEKDAYS: Final = {
    name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
}
_LEVELS: Final = {"yes": "A", "no": "F"}
_LISBON: Final = ZoneInfo("Europe/Lisbon")
_FIRST_YEAR: Final = 2008
_WEEK: Final = timedelta(days=7)
_WORKING_MINUTES: Final = 480


class BankCalls:
    """Derives the records of one file; rows must come in the file's order."""

    def __init__(self) -> None:
        self._last: date | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any] | Problem:
        cells = {name: str(value or "").strip() for name, value in row.items()}
        if problem := _check(cells):
            return problem
        connected = int(cells["duration"]) > 0
        self._last = _date_after(
            self._last, _MONTHS[cells["month"]], _WEEKDAYS[cells["day_of_week"]]
        )
        minute = timedelta(minutes=int(cells["row_id"]) % _WORKING_MINUTES)
        start = datetime.combine(self._last, time(9), tzinfo=_LISBON) + minute
        return {
            "callid": f"bank-{cells['row_id']}",
            "task_id": "term-deposit",
            "user_id": f"bank-{cells['contact']}",
            "customer_id": f"client-{cells['row_id']}",
            "started_at": start.isoformat(),
            "duration_ms": int(cells["duration"]) * 1000,
            "rounds": 0,
            "level_name": _LEVELS[cells["y"]] if connected else None,
            "call_status": CONNECTED if connected else "no_answer",
        }


def _check(cells: Mapping[str, str]) -> Problem | None:
    vocabularies: dict[str, Mapping[str, object]] = {
        "month": _MONTHS,
        "day_of_week": _WEEKDAYS,
        "y": _LEVELS,
    }
    for name, allowed in vocabularies.items():
        if cells[name] not in allowed:
            return Problem(name, cells[name], f"is no {name}", f"write one of {', '.join(allowed)}")
    for name in ("row_id", "duration"):
        if not (cells[name].isascii() and cells[name].isdigit() and len(cells[name]) < 10):
            return Problem(name, cells[name], "is not a whole number", "write up to 9 digits")
    if not cells["contact"]:
        return Problem("contact", "", "is missing", "write cellular or telephone")
    return None


def _date_after(last: date | None, month: int, weekday: int) -> date:
    """The next day with this weekday, on or after `last`, that lies in this month."""
    if last is None:
        start = date(_FIRST_YEAR, month, 1)
    elif month == last.month:
        start = last
    else:
        start = date(last.year + (month < last.month), month, 1)
    found = start + timedelta(days=(weekday - start.weekday()) % 7)
    return found if found.month == month else found - _WEEK
