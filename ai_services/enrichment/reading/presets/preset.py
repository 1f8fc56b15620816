"""A preset: how the columns of one kind of file become call records.

A column map written by a user is a preset too:

    timezone = "Asia/Shanghai"      # of times without an offset
    time_format = "iso"             # iso, unix_s, unix_ms, or like "%Y/%m/%d %H:%M:%S"
    duration_unit = "s"             # of duration_ms and bill_ms; ms if not given
    null_values = ["-", "NULL"]     # cells that mean "nothing"
    ignore = ["备注"]                # columns to leave out without a warning

    [columns]                       # field = "column of the file"; others keep their own name
    callid = "Call ID"
    [constants]                     # field = "the same value for every row"
    user_id = "team-7"
    [values.call_status]            # "value in the file" = "value of a call record"
    "接通" = "connected"
    [values.role]                   # roles in transcripts
    robot = "agent"
    [turns]                         # keys of a transcript's turns, unit of its times
    text = "content"
    time_unit = "s"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from ai_services.enrichment.reading.turns import TurnShape
from ai_services.enrichment.validation.parse_time import ISO, UNIX_UNITS
from ai_services.enrichment.validation.record import FIELDS, ROLES
from ai_services.enrichment.validation.reject import Problem
from shared.calls import CALL_STATUSES, INTENTION_LEVELS
from shared.errors import Detail, InvalidInput

# Reads one row of a foreign file, in file order; values by field name, or what is wrong.
Derive = Callable[[Mapping[str, Any]], dict[str, Any] | Problem]

_ALLOWED_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "call_status": CALL_STATUSES,
    "level_name": INTENTION_LEVELS,
    "hangup_by": ("1", "2"),
    "role": ROLES,
}
_KEYS: Final = (
    "timezone",
    "time_format",
    "duration_unit",
    "null_values",
    "ignore",
    "columns",
    "constants",
    "values",
    "turns",
)
# Only in presets that come with the product, where code stands behind them.
_BUILT_IN_KEYS: Final = ("about", "reads", "derived", "format")
_TURN_KEYS: Final = ("role", "at_ms", "text", "time_unit")
_UNITS: Final = {"ms": 1, "s": 1000}


@dataclass(frozen=True, slots=True)
class Preset:
    """`columns`: field → column. `values`: field → value in the file → value of the record.

    With `derive`, a factory that is called once per file, records come from the columns
    named in `reads`, and `derived` says field by field how. `format` binds to a file kind.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    timezone: str | None = None
    time_format: str = ISO
    duration_unit: str = "ms"
    null_values: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    turns: TurnShape = field(default_factory=TurnShape)
    about: str = ""
    format: str | None = None
    reads: tuple[str, ...] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    derive: Callable[[], Derive] | None = None

    @property
    def sources(self) -> dict[str, str]:
        """Field → the column it is read from; fields with a constant are not read."""
        return {name: self.columns.get(name, name) for name in FIELDS if name not in self.constants}


def parse_preset(
    name: str, text: str, derive: Callable[[], Derive] | None = None, *, built_in: bool = False
) -> Preset:
    """A preset from TOML; every mistake is named in one InvalidInput."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(
            f"{name} is not valid TOML: {error}.",
            details=[Detail(name, str(error), "see docs/import.md for an example")],
        ) from error
    mistakes = _Checker(raw, (*_KEYS, *(_BUILT_IN_KEYS if built_in else ()))).run()
    if mistakes:
        told = "; ".join(f"{m.field} {m.problem} ({m.fix})" for m in mistakes)
        raise InvalidInput(f"The column map {name} has mistakes: {told}.", details=mistakes)
    turns = raw.get("turns", {})
    values = {
        key: {k: str(v) for k, v in table.items()} for key, table in raw.get("values", {}).items()
    }
    return Preset(
        name=name,
        columns=raw.get("columns", {}),
        constants={key: str(value) for key, value in raw.get("constants", {}).items()},
        values={key: table for key, table in values.items() if key != "role"},
        timezone=raw.get("timezone"),
        time_format=raw.get("time_format", ISO),
        duration_unit=raw.get("duration_unit", "ms"),
        null_values=frozenset(raw.get("null_values", ())),
        ignore=frozenset(raw.get("ignore", ())),
        turns=TurnShape(
            role=turns.get("role", "role"),
            at_ms=turns.get("at_ms", "at_ms"),
            text=turns.get("text", "text"),
            unit_ms=_UNITS[turns.get("time_unit", "ms")],
            roles=values.get("role", {}),
        ),
        about=raw.get("about", ""),
        format=raw.get("format"),
        reads=tuple(raw.get("reads", ())),
        derived=raw.get("derived", {}),
        derive=derive,
    )


def read_preset(path: Path) -> Preset:
    """A user's column map."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"The column map {path} can't be read: {error}.",
            details=[Detail("preset", "can't be read", "check the path; save it as UTF-8")],
        ) from error
    return parse_preset(path.name, text)


class _Checker:
    """Collects the mistakes of a parsed TOML document."""

    def __init__(self, raw: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        self._raw = raw
        self._keys = keys
        self._mistakes: list[Detail] = []

    def run(self) -> list[Detail]:
        self._known(self._raw, self._keys, "")
        for key in ("columns", "constants", "values", "turns"):
            if not isinstance(self._raw.get(key, {}), dict):
                self._add(key, "is not a table", f"write [{key}] and one entry per line")
        for key in ("null_values", "ignore"):
            if not _is_texts(self._raw.get(key, [])):
                self._add(key, "is not a list of strings", f'write {key} = ["…"]')
        if not self._mistakes:
            self._settings()
            self._fields()
            self._values()
            self._turns()
        return self._mistakes

    def _add(self, place: str, problem: str, fix: str) -> None:
        self._mistakes.append(Detail(place, problem, fix))

    def _known(self, found: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
        for key in found:
            if key not in allowed:
                near = difflib.get_close_matches(key, allowed, n=1)
                fix = f"did you mean {near[0]}?" if near else f"known are {', '.join(allowed)}"
                self._add(f"{where}{key}", "is not known", fix)

    def _settings(self) -> None:
        timezone = self._raw.get("timezone")
        if timezone is not None and not _is_zone(timezone):
            self._add("timezone", f"{timezone!r} is no time zone", "write one like Asia/Shanghai")
        time_format = self._raw.get("time_format", ISO)
        if time_format not in (ISO, *UNIX_UNITS) and not _is_pattern(time_format):
            self._add(
                "time_format",
                f"{time_format!r} is no time format",
                'write iso, unix_s, unix_ms, or a pattern like "%Y/%m/%d %H:%M:%S"',
            )
        if self._raw.get("duration_unit", "ms") not in _UNITS:
            self._add("duration_unit", "is neither s nor ms", 'write "s" or "ms"')

    def _fields(self) -> None:
        columns, constants = self._raw.get("columns", {}), self._raw.get("constants", {})
        self._known(columns, FIELDS, "columns.")
        self._known(constants, FIELDS, "constants.")
        for name, column in columns.items():
            if not isinstance(column, str) or not column.strip():
                self._add(f"columns.{name}", "is no column name", 'write it as "text"')
            if name in constants:
                self._add(f"constants.{name}", "is mapped to a column as well", "keep one of them")
        for name, value in constants.items():
            if isinstance(value, bool) or not isinstance(value, str | int):
                self._add(f"constants.{name}", "is no text or number", 'write it as "text"')
        for name in ("callid", "turns"):
            if name in constants:
                self._add(f"constants.{name}", "differs from call to call", "map it to a column")

    def _values(self) -> None:
        for name, table in self._raw.get("values", {}).items():
            if name not in (*FIELDS, "role") or name in ("turns", "started_at"):
                self._add(f"values.{name}", "is no field with values to map", "use call_status, …")
                continue
            if not isinstance(table, dict):
                self._add(f"values.{name}", "is not a table", f"write [values.{name}]")
                continue
            allowed = _ALLOWED_VALUES.get(name)
            for source, value in table.items():
                if isinstance(value, bool) or not isinstance(value, str | int):
                    self._add(f"values.{name}.{source}", "is no text or number", 'write "text"')
                elif allowed and str(value) not in allowed:
                    fix = f"write one of {', '.join(allowed)}"
                    self._add(f"values.{name}.{source}", f"{value!r} is no {name}", fix)

    def _turns(self) -> None:
        turns = self._raw.get("turns", {})
        self._known(turns, _TURN_KEYS, "turns.")
        for key, value in turns.items():
            if not isinstance(value, str) or not value:
                self._add(f"turns.{key}", "is not text", 'write it as "text"')
        if turns.get("time_unit", "ms") not in _UNITS:
            self._add("turns.time_unit", "is neither s nor ms", 'write "s" or "ms"')


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_zone(value: object) -> bool:
    try:
        ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return isinstance(value, str)


def _is_pattern(value: object) -> bool:
    """Whether a time written with the pattern can be read back, down to the hour."""
    if not isinstance(value, str) or "%" not in value:
        return False
    probe = pl.Series([datetime(2024, 3, 5, 14, 20, tzinfo=UTC)])
    try:
        [read] = probe.dt.strftime(value).str.to_datetime(value, strict=False).to_list()
    except pl.exceptions.PolarsError:
        return False
    return read is not None and (read.year, read.month, read.day, read.hour) == (2024, 3, 5, 14)
