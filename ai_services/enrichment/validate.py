"""Check call records column by column.

`check_cells` takes cells (text, or numbers where the source had them), parses them with
polars expressions and evaluates every rule over the whole column; only rows that break a
rule are walked in Python, to say what is wrong with them. Whatever the file format or the
API, a record passes here and nowhere else.

Choices that a reader may question:
- Portraits count intention levels, rounds, transcripts and hang-ups over connected calls
  only. A level, rounds or turns on a call that was not connected contradict its status, so
  the row is rejected. `hangup_by` does not: switches fill it for every attempt, and
  `call_status` already says how the attempt ended. It is dropped there, with a warning.
- `duration_ms` is required for connected calls; otherwise it is 0 when absent. It may be
  more than 0 for a call that was not connected (ringing), and `bill_ms` may exceed it
  (billing rounds up).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from ai_services.enrichment.parse_time import explain_time, parse_times
from ai_services.enrichment.record import (
    CALL_STATUSES,
    CONNECTED,
    FIELDS,
    FIRST_YEAR,
    FRAME_SCHEMA,
    FUTURE_HOURS,
    HANGUP_CUSTOMER,
    HANGUP_ROBOT,
    ID_FIELDS,
    INT_LIMITS,
    INTENTION_LEVELS,
    MAX_ID_CHARS,
    PHONE_DIGITS,
    REQUIRED,
)
from ai_services.enrichment.reject import Problem

HANGUP_WARNING: Final = (
    "hangup_by is kept for connected calls only; it was dropped from calls that were not."
)
_INVISIBLE: Final = r"[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]"
_PHONE_FILLERS: Final = r"[\s()\[\]{}（）\-\u2010-\u2015\u2212]"
_PHONE: Final = rf"^\+?[0-9]{{{PHONE_DIGITS[0]},{PHONE_DIGITS[1]}}}$"
_SECONDS: Final = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"
_INTS: Final = (*INT_LIMITS, "hangup_by")
_MS_FIELDS: Final = ("duration_ms", "bill_ms")


@dataclass(frozen=True, slots=True)
class Rules:
    """What differs between sources: how times are written, the unit of durations, and now."""

    now: datetime
    timezone: str | None = None
    time_format: str = "iso"
    duration_unit: str = "ms"


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that broke a rule: its line, its first problem, its phone cell for masking."""

    line: int
    problem: Problem
    phone: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """Good rows by FRAME_SCHEMA, in the order given; one Failure for each other row."""

    frame: pl.DataFrame
    failures: list[Failure]
    warnings: list[str]


Explain = Callable[[str, Rules], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Rule:
    field: str
    broken: pl.Expr  # over parsed columns; true where the row breaks the rule
    explain: Explain


def check_cells(
    cells: pl.DataFrame, rules: Rules, broken_turns: Mapping[int, Problem] | None = None
) -> Checked:
    """Validate rows.

    `cells` has `line`, any of FIELDS (text; numbers are fine) and, where transcripts were
    read, `turns` as canonical JSON with their count of customer turns in `customer_turns`.
    `broken_turns` holds, by line, the transcripts that could not be read.
    """
    cells = _tidy(cells)
    parsed = _parse(cells, rules, broken_turns or {})
    table = _rules(rules)
    flags = parsed.select(
        rule.broken.fill_null(value=False).alias(str(number)) for number, rule in enumerate(table)
    )
    broken = flags.select(pl.any_horizontal(pl.all())).to_series()
    failures: list[Failure] = []
    if broken.any():
        bad = broken.arg_true()
        failures = _explain(cells[bad], flags[bad], table, rules, broken_turns or {})
        parsed = parsed.filter(~broken)
    frame, dropped = _finish(parsed)
    return Checked(frame, failures, [HANGUP_WARNING] if dropped else [])


def _tidy(cells: pl.DataFrame) -> pl.DataFrame:
    """Every field present; text stripped; blank is null."""
    columns: list[pl.Expr] = [pl.col("line").cast(pl.UInt64)]
    for name in FIELDS:
        if name not in cells.columns or cells.schema[name] == pl.Null:
            columns.append(pl.lit(None, dtype=pl.String).alias(name))
        elif cells.schema[name] == pl.String and name != "turns":
            stripped = pl.col(name).str.strip_chars()
            columns.append(pl.when(stripped != "").then(stripped).alias(name))
        else:
            columns.append(pl.col(name))
    turns = pl.col("customer_turns") if "customer_turns" in cells.columns else pl.lit(0)
    columns.append(turns.cast(pl.Int64).fill_null(0).alias("customer_turns"))
    return cells.select(columns)


def _parse(cells: pl.DataFrame, rules: Rules, broken_turns: Mapping[int, Problem]) -> pl.DataFrame:
    """Typed columns; null where absent or unreadable, told apart by `given.<field>`."""
    given = [pl.col(name).is_not_null().alias(f"given.{name}") for name in FIELDS]
    ints = [
        _milliseconds(cells[name])
        if name in _MS_FIELDS and rules.duration_unit == "s"
        else _whole_numbers(cells[name])
        for name in _INTS
    ]
    return cells.with_columns(
        *given,
        *ints,
        parse_times(cells["started_at"], rules.time_format, rules.timezone),
        pl.col("phone").str.replace_all(_PHONE_FILLERS, ""),
        pl.col("level_name").str.to_uppercase(),
        pl.col("call_status").str.to_lowercase(),
        pl.col("line").is_in(list(broken_turns)).alias("broken_turns"),
    )


def _whole_numbers(cells: pl.Series) -> pl.Series:
    """Int64; null where a cell is not a whole number. `12.0` is 12, as spreadsheets write it."""
    numbers = cells.cast(pl.Int64, strict=False)
    if cells.dtype != pl.String or numbers.null_count() == cells.null_count():
        return numbers
    whole = pl.when(cells.str.contains(r"^-?[0-9]{1,12}\.0*$")).then(
        cells.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
    )
    return pl.select(pl.coalesce(numbers, whole).alias(cells.name)).to_series()


def _milliseconds(cells: pl.Series) -> pl.Series:
    """Seconds, with decimals or not, as whole milliseconds."""
    text = cells.cast(pl.String)
    seconds = pl.when(text.str.contains(_SECONDS)).then(text.cast(pl.Float64, strict=False))
    return pl.select((seconds * 1000).round().cast(pl.Int64).alias(cells.name)).to_series()


def _rules(rules: Rules) -> list[Rule]:
    """Every rule, in the order of FIELDS, so that a row's first problem comes first."""
    table = [
        *(rule for name in ID_FIELDS for rule in _id_rules(name)),
        *_phone_rules(),
        *_time_rules(rules),
        *(rule for name in INT_LIMITS for rule in _int_rules(name)),
        *_status_rules(),
        *_business_rules(),
    ]
    return sorted(table, key=lambda rule: FIELDS.index(rule.field))


def _says(problem: str, fix: str) -> Explain:
    return lambda _value, _rules: (problem, fix)


def _missing(name: str) -> Rule:
    return Rule(name, ~pl.col(f"given.{name}"), _says("is missing", f"every call needs {name}"))


def _id_rules(name: str) -> list[Rule]:
    column = pl.col(name)
    rules = [_missing(name)] if name in REQUIRED else []
    return [
        *rules,
        Rule(
            name,
            column.str.len_chars() > MAX_ID_CHARS,
            lambda value, _: (
                f"has {len(value)} characters",
                f"shorten it to {MAX_ID_CHARS} at most",
            ),
        ),
        Rule(name, column.str.contains(_INVISIBLE), _explain_invisible),
    ]


def _phone_rules() -> list[Rule]:
    least, most = PHONE_DIGITS
    return [
        Rule(
            "phone",
            pl.col("given.phone") & ~pl.col("phone").str.contains(_PHONE),
            _says(
                "is not a phone number",
                f"write {least} to {most} digits, with a leading + for the country code if known",
            ),
        )
    ]


def _time_rules(rules: Rules) -> list[Rule]:
    first = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    last = rules.now + timedelta(hours=FUTURE_HOURS)
    started = pl.col("started_at")
    return [
        _missing("started_at"),
        Rule(
            "started_at",
            pl.col("given.started_at") & started.is_null(),
            lambda value, rules: explain_time(value, rules.time_format, rules.timezone),
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
    return [
        Rule(name, pl.col(f"given.{name}") & column.is_null(), _explain_number),
        Rule(
            name,
            column < 0,
            _says("is negative", f"write a whole number from 0 to {limit:,}"),
        ),
        Rule(
            name,
            column > limit,
            lambda value, rules: _explain_too_much(name, value, rules),
        ),
    ]


def _status_rules() -> list[Rule]:
    level, hangup = pl.col("level_name"), pl.col("hangup_by")
    return [
        Rule(
            "level_name",
            pl.col("given.level_name") & ~level.is_in(INTENTION_LEVELS),
            _says("is not an intention level", "write A, B, C, D, E or F, or leave it empty"),
        ),
        _missing("call_status"),
        Rule(
            "call_status",
            pl.col("given.call_status") & ~pl.col("call_status").is_in(CALL_STATUSES),
            _explain_status,
        ),
        Rule(
            "hangup_by",
            pl.col("given.hangup_by")
            & ~hangup.is_in([HANGUP_ROBOT, HANGUP_CUSTOMER]).fill_null(value=False),
            _says("is neither 1 nor 2", "write 1 (robot), 2 (customer), or leave it empty"),
        ),
        Rule("turns", pl.col("broken_turns"), _says("can't be read", "correct the transcript")),
    ]


def _business_rules() -> list[Rule]:
    """What contradicts the call's status."""
    known = pl.col("call_status").is_in(CALL_STATUSES)
    connected = pl.col("call_status") == CONNECTED
    unconnected = known & ~connected
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


def _explain_invisible(value: str, _rules: Rules) -> tuple[str, str]:
    at = next((c for c in value if not c.isprintable()), value[0])
    return f"contains an invisible character (U+{ord(at):04X})", "remove it"


def _explain_number(value: str, _rules: Rules) -> tuple[str, str]:
    digits = value.lstrip("+-")
    if digits.isascii() and digits.isdigit():
        return "is far too large", "correct it or its unit"
    return "is not a whole number", "write digits only, for example 12500"


def _explain_too_much(name: str, _value: str, _rules: Rules) -> tuple[str, str]:
    limit = INT_LIMITS[name]
    if name in _MS_FIELDS:
        return f"is more than a day ({limit:,} ms)", "correct it or its unit"
    return f"is more than {limit:,}", "correct it"


def _explain_status(value: str, _rules: Rules) -> tuple[str, str]:
    near = difflib.get_close_matches(value.lower(), CALL_STATUSES, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    known = ", ".join(CALL_STATUSES)
    fix = f"{hint}write one of {known}, or map it under [values.call_status] in the column map"
    return "is not a call status", fix


def _explain(
    cells: pl.DataFrame,
    flags: pl.DataFrame,
    table: list[Rule],
    rules: Rules,
    broken_turns: Mapping[int, Problem],
) -> list[Failure]:
    """One Failure per row: its first broken rule; other wrong fields are named with it."""
    failures = []
    texts = cells.with_columns(pl.col(FIELDS).exclude("turns").cast(pl.String))
    for row, marks in zip(texts.iter_rows(named=True), flags.iter_rows(), strict=True):
        broken = [rule for rule, mark in zip(table, marks, strict=True) if mark]
        first = broken[0]
        value = row[first.field]
        if first.field == "turns" and row["line"] in broken_turns:
            problem = broken_turns[row["line"]]
        else:
            problem = Problem(first.field, value or "", *first.explain(value or "", rules))
        others = sorted({rule.field for rule in broken} - {first.field}, key=FIELDS.index)
        if others:
            also = f"{problem.problem} (also wrong: {', '.join(others)})"
            problem = Problem(problem.field, problem.value, also, problem.fix)
        failures.append(Failure(row["line"], problem, row["phone"]))
    return failures


def _finish(parsed: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
    """Defaults, and the columns of FRAME_SCHEMA; also whether a hang-up was dropped."""
    connected = pl.col("call_status") == CONNECTED
    duration = pl.col("duration_ms").fill_null(0)
    dropped = parsed.select((~connected & pl.col("hangup_by").is_not_null()).any()).item()
    frame = parsed.with_columns(
        duration,
        pl.col("bill_ms").fill_null(pl.when(connected).then(duration).otherwise(0)),
        pl.col("rounds").fill_null(pl.col("customer_turns")),
        pl.when(connected).then(pl.col("hangup_by")).alias("hangup_by"),
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in FRAME_SCHEMA.items()), bool(
        dropped
    )
