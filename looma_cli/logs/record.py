"""What a line of a log says: our own JSON and console lines, and those of the stores.

PostgreSQL, Redis and ArcadeDB write lines of their own; those that give no offset are of this
machine's time zone. A line of none of these forms belongs to a record of text before it, as the rest
of a traceback does, or is text of its own, as of the time of the record before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
UNKNOWN: Final = datetime.min.replace(tzinfo=UTC)
_MOST_LINES: Final = 500  # of one text
_DATE: Final = r"(?P<at>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?)"
_FORMS: Final = (
    re.compile(rf"{_DATE}(?P<zone>Z) \[(?P<level>\w+) *\] (?P<text>.*)"),  # ours for people
    re.compile(rf"{_DATE} (?P<zone>\S+) \[\d+\] (?P<level>[A-Z0-9]+): +(?P<text>.*)"),  # PostgreSQL
    re.compile(rf"{_DATE}(?P<zone>) (?P<level>[A-Z]+) +(?P<text>\[.*)"),  # ArcadeDB
    re.compile(  # Redis
        r"\d+:[A-Z] (?P<at>\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d+)(?P<zone>) (?P<level>[.*#-]) (?P<text>.*)"
    ),
)
_LEVEL_OF: Final[Mapping[str, str]] = {
    **{name: name for name in LEVELS},
    "WARNING": "warning", "ERROR": "error", "FATAL": "error", "PANIC": "critical",
    "WARNI": "warning", "SEVER": "error", "SEVERE": "error", "FINE": "debug",
    ".": "debug", "-": "debug", "#": "warning",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that was logged. `fields` are those of a JSON line; other records have `text`."""

    process: str
    at: datetime  # of text without a time: that of the record before, or else after; or UNKNOWN
    level: str  # '' where none is told
    fields: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    def names(self, identifier: str) -> bool:
        """Whether it stands somewhere in the record: ids are too long to stand there by chance."""
        if not self.fields:
            return identifier in self.text
        return identifier in orjson.dumps(self.fields, default=str).decode()


class Records:
    """The records of one process; `unknown` counts lines of no known form."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.unknown = 0
        self._at = UNKNOWN

    def of(self, lines: Iterable[bytes]) -> Iterator[Record]:
        text: Record | None = None  # may go on in the next line
        rest: list[str] = []
        for line in lines:
            found = self._read(line)
            if found is None:
                self.unknown += 1
                written = line.decode("utf-8", "replace")
                if text is not None and len(rest) < _MOST_LINES:
                    rest.append(written)
                    continue
                found = Record(self.process, self._at, "", text=written)
            if text is not None:
                yield _with(text, rest, found.at)
                text, rest = None, []
            self._at = max(self._at, found.at)  # so that merging by time keeps a file's order
            if found.fields:
                yield found
            else:
                text = found
        if text is not None:
            yield _with(text, rest, text.at)

    def _read(self, line: bytes) -> Record | None:
        return self._json(line) if line.startswith(b"{") else self._text(line)

    def _json(self, line: bytes) -> Record | None:
        try:
            fields = orjson.loads(line)
            at = datetime.fromisoformat(fields["timestamp"])
            return Record(self.process, _in_utc(at), str(fields.get("level", "")), fields)
        except (ValueError, KeyError, TypeError):
            return None

    def _text(self, line: bytes) -> Record | None:
        written = line.decode("utf-8", "replace")
        for form in _FORMS:
            if match := form.fullmatch(written):
                level = _LEVEL_OF.get(match["level"], "info")
                return Record(
                    self.process, _moment(match["at"], match["zone"]), level, text=match["text"]
                )
        return None


def _with(record: Record, rest: list[str], then: datetime) -> Record:
    """With the lines that follow it; `then` is the time of the record after those."""
    at = then if record.at == UNKNOWN else record.at
    text = "\n".join([record.text, *rest]).rstrip("\n")
    return Record(record.process, at, record.level, text=text)


def _moment(text: str, zone: str) -> datetime:
    if text[2] == " ":
        return _in_utc(datetime.strptime(text, "%d %b %Y %H:%M:%S.%f"))  # noqa: DTZ007 - local
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if zone in ("Z", "UTC", "GMT") else _in_utc(at)


def _in_utc(at: datetime) -> datetime:
    """A time without an offset is of this machine's zone."""
    return at.astimezone(UTC)
