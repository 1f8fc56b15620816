"""Which records are wanted: the options of `looma logs`, read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from looma_cli.logs.record import LEVELS, Record
from shared.errors import ConfigError, InvalidInput
from shared.instant import parse_instant
from shared.wire import canonical_request_id

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TRACE: Final = re.compile(r"(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")


@dataclass(frozen=True, slots=True)
class Query:
    """What a record has to be; the defaults ask for nothing."""

    identifiers: tuple[str, ...] = ()  # of a request, of a trace: each has to be named
    level: str | None = None  # this one or a graver one
    since: datetime | None = None

    def wants(self, record: Record) -> bool:
        if self.since is not None and record.at < self.since:
            return False
        if self.level is not None and not _is_as_grave(record.level, self.level):
            return False
        return all(record.names(one) for one in self.identifiers)


def query(
    request: str | None, trace: str | None, level: str | None, since: str | None, now: datetime
) -> Query:
    """The query of the options; ConfigError for one that is wrong."""
    identifiers = [
        read(text)
        for read, text in ((_request_id, request), (_trace_id, trace))
        if text is not None
    ]
    return Query(tuple(identifiers), level, None if since is None else _since(since, now))


def _is_as_grave(level: str, least: str) -> bool:
    return level in LEVELS and LEVELS.index(level) >= LEVELS.index(least)


def _request_id(text: str) -> str:
    found = canonical_request_id(text)
    if found is None:
        raise ConfigError(
            f"--request: {text[:60]!r} is no request id. Copy `request_id` of an answer, or its "
            "header X-Request-Id: a UUID."
        )
    return found


def _trace_id(text: str) -> str:
    match = _TRACE.fullmatch(text.lower())
    if match is None:
        raise ConfigError(
            f"--trace: {text[:60]!r} is no trace id. Write its 32 hexadecimal digits, or the whole "
            "header traceparent."
        )
    return match[1]


def _since(text: str, now: datetime) -> datetime:
    match = _SPAN.fullmatch(text)
    try:
        if match is not None:
            return now - timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        return parse_instant("--since", text)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
    except InvalidInput as error:
        raise ConfigError(
            f"--since: {error.details[0].problem}. Write a span, such as 30s, 10m, 2h or 1d, or a "
            "time with its offset, such as 2026-01-31T09:30:00+08:00."
        ) from None
