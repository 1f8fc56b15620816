"""The rules of a call record, each over a whole column, with what to say to who breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from ai_services.enrichment.validation.parse_time import explain_time
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY, PhoneReader
from ai_services.enrichment.validation.record import (
    FIELDS,
    FIRST_YEAR,
    FUTURE_HOURS,
    ID_FIELDS,
    INT_LIMITS,
    MS_FIELDS,
    OPTIONAL,
    REQUIRED,
)
from ai_services.enrichment.validation.words import likely_status
from ai_services.enrichment.validation.written import ROUNDED, RUINED_ID
from shared.calls import CALL_STATUSES, CONNECTED, HANGUP_CUSTOMER, HANGUP_ROBOT, INTENTION_LEVELS
from shared.ids import BLANK_LETTERS, MAX_ID_CHARS, UNADDRESSABLE, why_unaddressable

_UNCONNECTED: Final = pl.col("call_status").is_in(CALL_STATUSES) & (
    pl.col("call_status") != CONNECTED
)
_INVISIBLE: Final = rf"[\p{{Cc}}\p{{Cf}}\p{{Co}}\p{{Zl}}\p{{Zp}}{BLANK_LETTERS}]"


@dataclass(frozen=True, slots=True)
class Conventions:
    """What differs between sources: how times are written, the unit of durations, and now.

    `country` is where phone numbers without a country code belong; `phones` reads and remembers them.
    """

    now: datetime
    timezone: str | None = None
    time_formats: tuple[str, ...] = ("iso",)
    duration_unit: str = "ms"
    country: str = DEFAULT_COUNTRY
    phones: PhoneReader = field(default_factory=PhoneReader, compare=False)


Explain = Callable[[str, Conventions], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken` is over parsed columns: true where the row breaks the rule. Who does is refused, or
    with `empties` only loses the field's value.
    """

    field: str
    broken: pl.Expr
    explain: Explain
    empties: bool = False


def record_rules(conventions: Conventions) -> list[Rule]:
    """Every rule, in the order of FIELDS, so that a row's first problem comes first."""
    table = [
        *(rule for name in ID_FIELDS for rule in _id_rules(name)),
        *_time_rules(conventions),
        *(rule for name in INT_LIMITS for rule in _int_rules(name)),
        *_status_rules(),
        *_business_rules(),
    ]
    return sorted(table, key=lambda rule: FIELDS.index(rule.field))


def _says(problem: str, fix: str) -> Explain:
    return lambda _value, _how: (problem, fix)


def _missing(name: str) -> Rule:
    return Rule(name, ~pl.col(f"given.{name}"), _says("is missing", f"every call needs {name}"))


def _id_rules(name: str) -> list[Rule]:
    column = pl.col(name)
    rules = [_missing(name)] if name in REQUIRED else []
    empties = name in OPTIONAL
    return [
        *rules,
        Rule(
            name,
            column.str.len_chars() > MAX_ID_CHARS,
            lambda value, _: (
                f"has {len(value)} characters",
                f"shorten it to {MAX_ID_CHARS} at most",
            ),
            empties,
        ),
        Rule(name, column.str.contains(_INVISIBLE), _explain_invisible, empties),
        Rule(name, column.str.contains(RUINED_ID), _says(*ROUNDED), empties),
        Rule(
            name,
            column.str.contains(UNADDRESSABLE),
            lambda value, _: why_unaddressable(value) or ("can't be read", "write another id"),
            empties,
        ),
    ]


def _time_rules(conventions: Conventions) -> list[Rule]:
    first = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    last = conventions.now + timedelta(hours=FUTURE_HOURS)
    started = pl.col("started_at")
    return [
        _missing("started_at"),
        Rule(
            "started_at",
            pl.col("given.started_at") & started.is_null(),
            lambda value, how: explain_time(value, how.time_formats, how.timezone),
        ),
        Rule(
            "started_at",
            started < first,
            _says(f"is before the year {FIRST_YEAR}", "correct the date or its unit"),
        ),
        Rule(
            "started_at",
            started > last,
            _says("lies in the future", "correct the date, its time zone or its unit"),
        ),
    ]


def _int_rules(name: str) -> list[Rule]:
    column, limit = pl.col(name), INT_LIMITS[name]
    unreadable: list[tuple[pl.Expr, Explain]] = [
        (
            pl.col(f"given.{name}") & column.is_null(),
            _explain_duration if name in MS_FIELDS else _explain_number,
        ),
        (column < 0, _says("is negative", f"write a whole number from 0 to {limit:,}")),
        (column > limit, lambda _value, _how: _explain_too_much(name)),
    ]
    if name in OPTIONAL:
        return [Rule(name, broken, explain, empties=True) for broken, explain in unreadable]
    # A call that was not connected lacks nothing without its duration.
    return [
        rule
        for broken, explain in unreadable
        for rule in (
            Rule(name, broken & ~_UNCONNECTED, explain),
            Rule(name, broken & _UNCONNECTED, explain, empties=True),
        )
    ]


def _status_rules() -> list[Rule]:
    level, hangup = pl.col("level_name"), pl.col("hangup_by")
    return [
        Rule(
            "level_name",
            pl.col("given.level_name") & ~level.is_in(INTENTION_LEVELS),
            _says("is not an intention level", "write A, B, C, D, E or F, or leave it empty"),
            empties=True,
        ),
        _missing("call_status"),
        Rule(
            "call_status",
            pl.col("given.call_status") & ~pl.col("call_status").is_in(CALL_STATUSES),
            _explain_status,
        ),
        Rule(  # of calls that were not connected it is dropped in any case
            "hangup_by",
            ~_UNCONNECTED
            & pl.col("given.hangup_by")
            & ~hangup.is_in([HANGUP_ROBOT, HANGUP_CUSTOMER]).fill_null(value=False),
            _says("is neither 1 nor 2", "write 1 (robot), 2 (customer), or leave it empty"),
            empties=True,
        ),
        Rule("turns", pl.col("damaged_turns"), _says("are damaged", "correct the transcript")),
        Rule(
            "turns",
            pl.col("broken_turns"),
            _says("can't be read", "correct the transcript"),
            empties=True,
        ),
    ]


def _business_rules() -> list[Rule]:
    """What contradicts the call's status."""
    connected = pl.col("call_status") == CONNECTED
    unconnected = _UNCONNECTED
    contradiction = "but the call was not connected"
    fix = "leave it empty, or correct call_status"
    return [
        Rule(
            "duration_ms",
            connected & ~pl.col("given.duration_ms"),
            _says("is missing", "every connected call needs duration_ms"),
        ),
        Rule(
            "rounds",
            unconnected & (pl.col("rounds") > 0),
            _says(f"is more than 0, {contradiction}", "write 0, or correct call_status"),
        ),
        Rule(
            "level_name",
            unconnected & pl.col("level_name").is_in(INTENTION_LEVELS),
            _says(f"is given, {contradiction}", fix),
        ),
        Rule(
            "turns",
            unconnected & pl.col("given.turns"),
            _says(f"are given, {contradiction}", fix),
        ),
    ]


def _explain_invisible(value: str, _how: Conventions) -> tuple[str, str]:
    if "\0" in value:
        return "contains a NUL character (U+0000)", "remove it"
    hidden = (c for c in value if not c.isprintable() or c in BLANK_LETTERS)
    at = next(hidden, value[0])
    return f"contains an invisible character (U+{ord(at):04X})", "remove it"


def _explain_number(value: str, _how: Conventions) -> tuple[str, str]:
    digits = value.lstrip("+-")
    if digits.isascii() and digits.isdigit():
        return "is far too large", "correct it or its unit"
    return "is not a whole number", "write digits only, for example 3"


def _explain_duration(value: str, how: Conventions) -> tuple[str, str]:
    digits = value.lstrip("+-")
    if digits.isascii() and digits.isdigit():
        return "is far too large", "correct it or its unit"
    written = "or with its unit, like 0:01:05, 62s or 3分20秒"
    if how.duration_unit == "s":
        return "is not a duration", f"write seconds, for example 12.5, {written}"
    if re.fullmatch(r"[0-9]+[.,][0-9]+", value):
        fix = 'write whole milliseconds, for example 12500; for seconds set duration_unit = "s"'
        return "is not a whole number", f"{fix} in the column map"
    return "is not a whole number", f"write milliseconds, for example 12500, {written}"


def _explain_too_much(name: str) -> tuple[str, str]:
    limit = INT_LIMITS[name]
    if name in MS_FIELDS:
        return f"is more than a day ({limit:,} ms)", "correct it or its unit"
    return f"is more than {limit:,}", "correct it"


def _explain_status(value: str, _how: Conventions) -> tuple[str, str]:
    near = likely_status(value)
    hint = f"did you mean {near}? " if near else ""
    known = ", ".join(CALL_STATUSES)
    fix = f"{hint}write one of {known}, or map it under [values.call_status] in the column map"
    return "is not a call status", fix
