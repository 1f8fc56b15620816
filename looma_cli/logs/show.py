"""A record as a line: for people, or as JSON."""

from __future__ import annotations

from typing import Any, Final

import orjson

from looma_cli.logs.record import UNKNOWN, Record

_HEAD: Final = ("timestamp", "level", "event", "service")
_LAST: Final = ("request_id", "trace_id", "org_id")  # long, and the same in many lines
_COLOURS: Final = {"debug": "2", "warning": "33", "error": "31", "critical": "1;31"}


def as_json(record: Record) -> str:
    """The line's own fields and the `process` that wrote it; `text` of what is no JSON."""
    own: dict[str, Any] = dict(record.fields) or {
        "timestamp": None if record.at == UNKNOWN else record.at.isoformat(), "level": record.level, "text": record.text,
    }  # fmt: skip
    return orjson.dumps({"process": record.process, **own}, default=str).decode()


def as_line(record: Record, width: int, *, coloured: bool) -> str:
    """Local time, process in `width` characters, level, event, fields; a traceback below it."""
    fields = record.fields
    said = str(fields.get("event", "")) if fields else record.text
    head, *below = said.split("\n")
    at = record.at
    time = "-" if at == UNKNOWN else at.astimezone().isoformat(" ", "milliseconds")[:23]
    level = record.level or "-"
    words = [f"{time:<23} {record.process:<{width}} {level:<8} {visible(head)}"]
    names = [name for name in fields if name not in (*_HEAD, *_LAST, "exception")]
    words += [f"{name}={_value(fields[name])}" for name in (*names, *_LAST) if name in fields]
    below += str(fields.get("exception", "")).split("\n") if "exception" in fields else []
    line = "\n".join(["  ".join(words), *(f"    {visible(one)}" for one in below)])
    colour = _COLOURS.get(level) if coloured else None
    return line if colour is None else f"\x1b[{colour}m{line}\x1b[0m"


def visible(text: str) -> str:
    """Without what a terminal would obey: a log holds what clients sent."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def _value(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    plain = text.isprintable() and text and not any(char in " \"'=" for char in text)
    return text if plain or not isinstance(value, str) else visible(f'"{_quoted(text)}"')


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
