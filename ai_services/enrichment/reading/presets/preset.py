"""A preset: how the columns of one kind of file become call records.

A column map written by a user is a preset too:

    timezone = "Asia/Shanghai"      # of times without an offset
    time_format = "iso"             # iso, unix_s, unix_ms, unix_us, excel, or like
                                    # "%Y/%m/%d %H:%M:%S"; a list where a column has several
    duration_unit = "s"             # of duration_ms and bill_ms; ms if not given
    null_values = ["-", "NULL"]     # cells that mean "nothing", in any case
    country = "CN"                  # of phone numbers without a country code
    encoding = "gbk"                # of a text file; found by content if not given
    ignore = ["备注"]                # columns to leave out without a warning
    group_by = "linkedid"           # rows that are the same there are legs of one call: legs/join.py
    header = ["id", "src", "dst"]   # the names of the columns, where no line of the file has them
    leg_id = "sequence"             # tells the legs of one callid apart; else all that is read does

    [columns]                       # field = "column of the file"; others keep their own name
    callid = "Call ID"
    started_at = ["Date", "Time"]   # a date and a time of day that stand apart
    [constants]                     # field = "the same value for every row"
    user_id = "team-7"
    [values.call_status]            # "value in the file" = "value of a call record"
    "接通" = "connected"            # as it is written, or else in any case
    "*" = "failed"                  # all others
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ai_services.enrichment.legs.rows import GROUP, LEG_ID
from ai_services.enrichment.reading.content.encoding import is_encoding
from ai_services.enrichment.reading.tables.layout import (
    LAYOUT_KEYS,
    Layout,
    check_layout,
    read_layout,
)
from ai_services.enrichment.reading.turns import TurnShape
from ai_services.enrichment.validation.parse_time import ISO, NAMED_FORMATS
from ai_services.enrichment.validation.phone_number import is_country
from ai_services.enrichment.validation.record import FIELDS, OPTIONAL, ROLES
from ai_services.enrichment.validation.reject import Problem
from ai_services.enrichment.validation.time_pattern import reads_back
from shared.calls import CALL_STATUSES, INTENTION_LEVELS
from shared.errors import Detail, InvalidInput

# Reads one row of a foreign file, in file order; values by field name, or what is wrong.
Derive = Callable[[Mapping[str, Any]], dict[str, Any] | Problem]

ALLOWED_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "call_status": CALL_STATUSES,
    "level_name": INTENTION_LEVELS,
    "hangup_by": ("1", "2"),
    "role": ROLES,
}
DEFAULT: Final = "*"  # in a value map: every other value
_KEYS: Final = (
    "country",
    "timezone",
    "time_format",
    "duration_unit",
    "encoding",
    "null_values",
    "ignore",
    "group_by",
    "leg_id",
    "columns",
    "constants",
    "values",
    "turns",
    *LAYOUT_KEYS,
)
# Only in presets that come with the product, where code stands behind them.
_BUILT_IN_KEYS: Final = ("about", "reads", "may_read", "derived", "format")
_TURN_KEYS: Final = ("role", "at_ms", "text", "time_unit")
_UNITS: Final = {"ms": 1, "s": 1000}


@dataclass(frozen=True, slots=True)
class Preset:
    """`columns`: field → column. `values`: field → value in the file → value of the record.

    `joined`: field → names under which more columns of it are read, which `sources` tells as well.

    With `derive`, a factory that is called once per file, records come from the columns
    named in `reads`, and in `may_read` where there are such; `derived` says field by field how.
    `format` binds to a file kind.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    timezone: str | None = None
    time_formats: tuple[str, ...] = (ISO,)
    country: str | None = None
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    duration_unit: str = "ms"
    encoding: str | None = None  # found by content
    layout: Layout = field(default_factory=Layout)
    null_values: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    group_by: str | None = None
    leg_id: str | None = None
    turns: TurnShape = field(default_factory=TurnShape)
    about: str = ""
    format: str | None = None
    reads: tuple[str, ...] = ()
    may_read: tuple[str, ...] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    derive: Callable[[], Derive] | None = None

    @property
    def header(self) -> tuple[str, ...]:
        """The columns of a file that has no line with their names."""
        return self.layout.header or ()

    @property
    def sources(self) -> dict[str, str]:
        """Field, or part of one, → the column it is read from; fields with a constant are not read."""
        fields = [name for name in FIELDS if name not in self.constants]
        parts = [part for name in fields for part in self.joined.get(name, ())]
        found = {name: self.columns.get(name, name) for name in (*fields, *parts)}
        if self.group_by is not None and self.group_by != self.columns.get("callid", "callid"):
            found[GROUP] = self.group_by
        if self.leg_id is not None:
            found[LEG_ID] = self.leg_id
        return found


def parse_preset(
    name: str, text: str, derive: Callable[[], Derive] | None = None, *, built_in: bool = False
) -> Preset:
    """A preset from TOML; every mistake is named in one InvalidInput."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
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
    formats = raw.get("time_format", ISO)
    columns, joined = _apart(raw.get("columns", {}))
    return Preset(
        name=name,
        columns=columns,
        joined=joined,
        constants={key: str(value) for key, value in raw.get("constants", {}).items()},
        values={key: table for key, table in values.items() if key != "role"},
        timezone=raw.get("timezone"),
        time_formats=(formats,) if isinstance(formats, str) else tuple(formats),
        country=raw.get("country"),
        duration_unit=raw.get("duration_unit", "ms"),
        encoding=raw.get("encoding"),
        layout=read_layout(raw),
        null_values=frozenset(raw.get("null_values", ())),
        ignore=frozenset(raw.get("ignore", ())),
        group_by=raw.get("group_by"),
        leg_id=raw.get("leg_id"),
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
        may_read=tuple(raw.get("may_read", ())),
        derived=raw.get("derived", {}),
        derive=derive,
    )


def in_timezone(preset: Preset, timezone: str | None) -> Preset:
    """With times without an offset in that zone, if one is named; InvalidInput for what is none."""
    if timezone is None:
        return preset
    if not _is_zone(timezone):
        fix = "write one like Asia/Shanghai"
        raise InvalidInput.of("timezone", f"{timezone!r} is no time zone", fix)
    return replace(preset, timezone=timezone)


def _apart(
    columns: Mapping[str, str | int | list[str | int]] | list[str],
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Each column under a name of its own, a position as text; and the names of more columns of one
    field. A mere list only names columns.
    """
    single: dict[str, str] = {}
    joined: dict[str, tuple[str, ...]] = {}
    for name, column in () if isinstance(columns, list) else columns.items():
        first, *rest = map(str, column if isinstance(column, list) else [column])
        single[name] = first
        if rest:
            joined[name] = tuple(f"{name}_{number}" for number in range(2, len(rest) + 2))
            single.update(zip(joined[name], rest, strict=True))
    return single, joined


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
            if key == "columns" and self._has_column_list():
                continue
            if not isinstance(self._raw.get(key, {}), dict):
                self._add(key, "is not a table", f"write [{key}] and one entry per line")
        for key in ("null_values", "ignore"):
            if not _is_texts(self._raw.get(key, [])):
                self._add(key, "is not a list of strings", f'write {key} = ["…"]')
        self._mistakes += check_layout(self._raw)
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
        self._time_format(self._raw.get("time_format", ISO))
        country = self._raw.get("country")
        if country is not None and not is_country(country):
            self._add("country", f"{country!r} is no country", 'write two letters, like "CN"')
        if self._raw.get("duration_unit", "ms") not in tuple(_UNITS):
            self._add("duration_unit", "is neither s nor ms", 'write "s" or "ms"')

        for key in ("group_by", "leg_id"):
            column = self._raw.get(key, "a column")
            if not isinstance(column, str) or not column.strip():
                self._add(key, "is no column name", 'write it as "text"')
        if "leg_id" in self._raw and "group_by" not in self._raw:
            self._add("leg_id", "is of no use without group_by", 'add group_by = "linkedid", say')
        encoding = self._raw.get("encoding", "utf-8")
        if not isinstance(encoding, str) or not is_encoding(encoding):
            fix = "write utf-8, utf-16, gbk, gb18030, big5, shift_jis, latin-1 or cp1252"
            self._add("encoding", f"{encoding!r} is no encoding that can be read", fix)

    def _time_format(self, said: object) -> None:
        formats = said if isinstance(said, list) else [said]
        if not formats:
            self._add("time_format", "is an empty list", 'write "iso", or leave it out')
        for one in formats:
            if one not in NAMED_FORMATS and not (isinstance(one, str) and _is_pattern(one)):
                fix = f'write {", ".join(NAMED_FORMATS)}, or a pattern like "%Y/%m/%d %H:%M:%S"'
                self._add("time_format", f"{one!r} is no time format", fix)

    def _fields(self) -> None:
        columns = {} if self._has_column_list() else self._raw.get("columns", {})
        constants = self._raw.get("constants", {})
        by_position = self._raw.get("header", True) is False
        self._known(columns, FIELDS, "columns.")
        self._known(constants, FIELDS, "constants.")
        for name, column in columns.items():
            if by_position:
                if isinstance(column, bool) or not isinstance(column, int) or column < 1:
                    fix = "write which column it is, the first is 1"
                    self._add(f"columns.{name}", "is no position, as header = false needs", fix)
            elif name == "started_at" and isinstance(column, list):
                if not column or not all(isinstance(one, str) and one.strip() for one in column):
                    fix = 'write them as ["Date", "Time"]'
                    self._add(f"columns.{name}", "is no list of column names", fix)
            elif not isinstance(column, str) or not column.strip():
                self._add(f"columns.{name}", "is no column name", 'write it as "text"')
            if name in constants:
                self._add(f"constants.{name}", "is mapped to a column as well", "keep one of them")
        for name, value in constants.items():
            if isinstance(value, bool) or not isinstance(value, str | int):
                self._add(f"constants.{name}", "is no text or number", 'write it as "text"')
        for name in ("callid", "turns"):
            if name in constants:
                self._add(f"constants.{name}", "differs from call to call", "map it to a column")

    def _has_column_list(self) -> bool:
        """`columns = ["callid", …]`: the names of the columns of a file without header line."""
        names = self._raw.get("columns")
        listed = isinstance(names, list) and bool(names) and _is_texts(names)
        return listed and self._raw.get("header", False) is False

    def _values(self) -> None:
        for name, table in self._raw.get("values", {}).items():
            if name not in (*FIELDS, "role") or name in ("turns", "started_at"):
                self._add(f"values.{name}", "is no field with values to map", "use call_status, …")
                continue
            if not isinstance(table, dict):
                self._add(f"values.{name}", "is not a table", f"write [values.{name}]")
                continue
            allowed = ALLOWED_VALUES.get(name)
            for source, value in table.items():
                if isinstance(value, bool) or not isinstance(value, str | int):
                    self._add(f"values.{name}.{source}", "is no text or number", 'write "text"')
                elif value == "" and name in (*OPTIONAL, "role"):
                    continue  # nothing; of a role: no turn
                elif allowed and str(value) not in allowed:
                    fix = f"write one of {', '.join(allowed)}"
                    self._add(f"values.{name}.{source}", f"{value!r} is no {name}", fix)

    def _turns(self) -> None:
        turns = self._raw.get("turns", {})
        self._known(turns, _TURN_KEYS, "turns.")
        for key, value in turns.items():
            if not isinstance(value, str) or not value:
                self._add(f"turns.{key}", "is not text", 'write it as "text"')
        if turns.get("time_unit", "ms") not in tuple(_UNITS):
            self._add("turns.time_unit", "is neither s nor ms", 'write "s" or "ms"')


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_zone(value: object) -> bool:
    try:
        ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return isinstance(value, str)


def _is_pattern(value: str) -> bool:
    return "%" in value and reads_back(value)
