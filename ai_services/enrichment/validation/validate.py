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

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from ai_services.enrichment.validation.duration import plain_number, read_duration
from ai_services.enrichment.validation.parse_time import parse_times
from ai_services.enrichment.validation.phone_number import Phone, read_phones
from ai_services.enrichment.validation.record import (
    FIELDS,
    FRAME_SCHEMA,
    ID_FIELDS,
    INT_LIMITS,
    MS_FIELDS,
)
from ai_services.enrichment.validation.reject import Damage, Problem
from ai_services.enrichment.validation.rules import Conventions, Rule, record_rules
from ai_services.enrichment.validation.words import levels, statuses
from ai_services.enrichment.validation.written import without_apostrophe
from shared.calls import CONNECTED

HANGUP_WARNING: Final = (
    "hangup_by is kept for connected calls only; it was dropped from calls that were not."
)
SECONDS_NOTE: Final = (
    "The durations look like seconds: none of the connected calls that came in together lasts a "
    "whole second in milliseconds. If they are seconds, multiply them by 1,000, or import the file "
    'with duration_unit = "s" in a column map.'
)
_FEW_CALLS: Final = 3  # what one or two calls look like says nothing
_SECONDS: Final = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"
_WHOLE: Final = re.compile(r"-?[0-9]{1,12}(?:\.0*)?")
_INTS: Final = (*INT_LIMITS, "hangup_by")


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that broke a rule: its line, its first problem, its phone cell for masking, its callid
    as it was read.
    """

    line: int
    problem: Problem
    phone: str | None
    callid: object = None


@dataclass(frozen=True, slots=True)
class Checked:
    """Good rows by FRAME_SCHEMA, in the order given; one Failure for each other row.

    `remarks` are, by line, of good rows: fields that were left empty, parts that were left out.
    """

    frame: pl.DataFrame
    failures: list[Failure]
    warnings: list[str]
    remarks: list[tuple[int, Problem]] = field(default_factory=list)


def check_cells(
    cells: pl.DataFrame, how: Conventions, broken_turns: Mapping[int, Problem] | None = None
) -> Checked:
    """Validate rows.

    `cells` has `line`, any of FIELDS (text; numbers are fine) and, where transcripts were
    read, `turns` as canonical JSON with their count of customer turns in `customer_turns`.
    `broken_turns` holds, by line, the transcripts that could not be read.
    """
    cells = _tidy(cells)
    parsed, phones, warnings = _parse(cells, how, broken_turns or {})
    table = record_rules(how)
    flags = parsed.select(
        rule.broken.fill_null(value=False).alias(str(number)) for number, rule in enumerate(table)
    )
    refusing = [str(number) for number, rule in enumerate(table) if not rule.empties]
    broken = flags.select(pl.any_horizontal(refusing)).to_series()
    failures: list[Failure] = []
    if broken.any():
        bad = broken.arg_true()
        failures = _explain(cells[bad], flags[bad], table, how, broken_turns or {})
        kept = (~broken).arg_true()
        cells, parsed, flags = cells[kept], parsed[kept], flags[kept]
    parsed, remarks = _empty(cells, parsed, flags, table, how, broken_turns or {})
    remarks += _of_phones(cells, phones)
    frame, dropped = _finish(parsed)
    if dropped:
        warnings.append(HANGUP_WARNING)
    if how.duration_unit == "ms" and _look_like_seconds(frame):
        warnings.append(SECONDS_NOTE)
    return Checked(frame, failures, warnings, remarks)


def _look_like_seconds(frame: pl.DataFrame) -> bool:
    """Whether all connected calls are shorter than a second, and some longer than a second if taken
    as seconds: who talks for 65 ms?
    """
    connected = frame.filter(pl.col("call_status") == CONNECTED)["duration_ms"]
    longest = connected.max()
    return len(connected) >= _FEW_CALLS and isinstance(longest, int) and 1 < longest < 1_000


def _tidy(cells: pl.DataFrame) -> pl.DataFrame:
    """Every field present; text stripped; blank is null."""
    columns: list[pl.Expr] = [pl.col("line").cast(pl.UInt64)]
    for name in FIELDS:
        if name not in cells.columns or cells.schema[name] == pl.Null:
            columns.append(pl.lit(None, dtype=pl.String).alias(name))
        elif cells.schema[name] == pl.String and name != "turns":
            stripped = _text(cells[name]).str.strip_chars()
            columns.append(pl.when(stripped != "").then(stripped).alias(name))
        else:
            columns.append(pl.col(name))
    turns = pl.col("customer_turns") if "customer_turns" in cells.columns else pl.lit(0)
    columns.append(turns.cast(pl.Int64).fill_null(0).alias("customer_turns"))
    return cells.select(columns)


def _text(cells: pl.Series) -> pl.Expr:
    """A column of text; ids in one spelling (NFC), whichever their source writes."""
    if cells.name not in ID_FIELDS:
        return pl.lit(cells)
    cells = without_apostrophe(cells)
    if (cells.str.len_bytes() != cells.str.len_chars()).any():
        return pl.lit(cells).str.normalize("NFC")
    return pl.lit(cells)


def _parse(
    cells: pl.DataFrame, how: Conventions, broken_turns: Mapping[int, Problem]
) -> tuple[pl.DataFrame, Mapping[str, Phone], list[str]]:
    """Typed columns; null where absent or unreadable, told apart by `given.<field>`. Also what there
    is to tell of phone cells, and of the columns as a whole.
    """
    given = [pl.col(name).is_not_null().alias(f"given.{name}") for name in FIELDS]
    ints = [
        _milliseconds(cells[name], how.duration_unit)
        if name in MS_FIELDS
        else _whole_numbers(cells[name])
        for name in _INTS
    ]
    times = parse_times(cells["started_at"], how.time_formats, how.timezone)
    phones, told = read_phones(cells["phone"].cast(pl.String), how.country, how.phones)
    damaged = [line for line, problem in broken_turns.items() if isinstance(problem, Damage)]
    parsed = cells.with_columns(
        *given,
        *ints,
        times.moments,
        phones,
        levels(cells["level_name"].cast(pl.String)),
        statuses(cells["call_status"].cast(pl.String)),
        pl.col("line").is_in(damaged).alias("damaged_turns"),
        pl.col("line").is_in([*set(broken_turns) - set(damaged)]).alias("broken_turns"),
    )
    return parsed, told, list(times.notes)


def _whole_numbers(cells: pl.Series) -> pl.Series:
    """Int64; null where a cell is not a whole number. `12.0` is 12, as spreadsheets write it."""
    numbers = cells.cast(pl.Int64, strict=False)
    if cells.dtype != pl.String or numbers.null_count() == cells.null_count():
        return numbers
    return _filled(numbers, cells, _one_whole_number)


def _one_whole_number(text: str) -> int | None:
    plain = plain_number(text)
    return int(plain.partition(".")[0]) if _WHOLE.fullmatch(plain) else None


def _milliseconds(cells: pl.Series, unit: str) -> pl.Series:
    """Durations as whole milliseconds; plain numbers are in `unit`, seconds with decimals or not."""
    if unit == "ms":
        numbers = cells.cast(pl.Int64, strict=False)
    else:
        text = cells.cast(pl.String)
        seconds = pl.when(text.str.contains(_SECONDS)).then(text.cast(pl.Float64, strict=False))
        numbers = pl.select((seconds * 1000).round().cast(pl.Int64).alias(cells.name)).to_series()
    if cells.dtype != pl.String or numbers.null_count() == cells.null_count():
        return numbers
    return _filled(numbers, cells, lambda text: read_duration(text, unit))


def _filled(numbers: pl.Series, cells: pl.Series, read: Callable[[str], int | None]) -> pl.Series:
    """With what the column's way couldn't read, read one by one."""
    missed = (numbers.is_null() & cells.is_not_null()).arg_true()
    found = [read(text) for text in cells.gather(missed)]
    return numbers.scatter(missed, pl.Series(found, dtype=pl.Int64))


def _empty(
    cells: pl.DataFrame,
    parsed: pl.DataFrame,
    flags: pl.DataFrame,
    table: list[Rule],
    how: Conventions,
    broken_turns: Mapping[int, Problem],
) -> tuple[pl.DataFrame, list[tuple[int, Problem]]]:
    """Without the values that break the rules of fields that a call may lack; what was left out."""
    remarks: list[tuple[int, Problem]] = []
    for number, rule in enumerate(table):
        if not rule.empties or not flags[str(number)].any():
            continue
        at = flags[str(number)].arg_true()
        bad = cells[at]
        texts = bad[rule.field].cast(pl.String) if rule.field != "turns" else [None] * len(at)
        told: dict[str, Problem] = {}
        for line, text in zip(bad["line"], texts, strict=True):
            if rule.field == "turns":
                remarks.append((line, broken_turns[line]))
                continue
            if text not in told:
                told[text] = Problem(rule.field, text, *rule.explain(text, how))
            remarks.append((line, told[text]))
        emptied = pl.when(~pl.lit(flags[str(number)])).then(pl.col(rule.field))
        parsed = parsed.with_columns(emptied.alias(rule.field))
    return parsed, _first_of_each(remarks)


def _first_of_each(remarks: list[tuple[int, Problem]]) -> list[tuple[int, Problem]]:
    """A value that breaks several rules is told once."""
    first: dict[tuple[int, str], Problem] = {}
    for line, problem in remarks:
        first.setdefault((line, problem.field), problem)
    return [(line, problem) for (line, _), problem in first.items()]


def _of_phones(cells: pl.DataFrame, told: Mapping[str, Phone]) -> list[tuple[int, Problem]]:
    """Numbers that were left empty, or lost their extension."""
    if not told:
        return []
    problems = {
        text: Problem("phone", text, phone.problem, phone.fix) for text, phone in told.items()
    }
    rows = cells.select("line", pl.col("phone").cast(pl.String)).filter(
        pl.col("phone").is_in(list(told))
    )
    return [(line, problems[text]) for line, text in rows.iter_rows()]


def _explain(
    cells: pl.DataFrame,
    flags: pl.DataFrame,
    table: list[Rule],
    how: Conventions,
    broken_turns: Mapping[int, Problem],
) -> list[Failure]:
    """One Failure per row: its first broken rule; other wrong fields are named with it."""
    failures = []
    texts = cells.with_columns(pl.col(FIELDS).exclude("turns").cast(pl.String))
    for row, marks in zip(texts.iter_rows(named=True), flags.iter_rows(), strict=True):
        broken = [rule for rule, mark in zip(table, marks, strict=True) if mark]
        first = next(rule for rule in broken if not rule.empties)
        value = row[first.field]
        if first.field == "turns" and row["line"] in broken_turns:
            problem = broken_turns[row["line"]]
        else:
            problem = Problem(first.field, value or "", *first.explain(value or "", how))
        others = sorted({rule.field for rule in broken} - {first.field}, key=FIELDS.index)
        if others:
            also = f"{problem.problem} (also wrong: {', '.join(others)})"
            problem = Problem(problem.field, problem.value, also, problem.fix)
        failures.append(Failure(row["line"], problem, row["phone"], row["callid"]))
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
