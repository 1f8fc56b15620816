"""When a schedule runs: five fields of cron in a time zone, with the days on which clocks change.

The fields are minute, hour, day of month, month and weekday as in crontab(5), read by cronsim as
Debian's cron reads them: where both days are restricted either will do. A time of day that the
clocks skip runs at the first moment after the gap, one that comes twice runs the first time. Where
minute or hour begins with a star the schedule is an interval: it goes by elapsed time, through a
skipped hour and through both of a repeated one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from shared.errors import InvalidInput

_FIELDS: Final = 5
_LONGEST: Final = 100
_EXAMPLE: Final = "send five fields (minute, hour, day of month, month, weekday), e.g. '30 2 * * *'"
# How far back to look for the last time before a moment: short steps first, as most schedules are.
_BACK: Final = tuple(timedelta(hours=hours) for hours in (1, 25, 32 * 24, 367 * 24))
_ANY: Final = datetime(2000, 1, 1, tzinfo=UTC)


def check_cron(field: str, expression: str) -> str:
    """The expression with single spaces; InvalidInput for one that no time fits, or that is none."""
    fields = expression.split()
    shown = repr(expression[:_LONGEST])
    if len(fields) != _FIELDS or len(expression) > _LONGEST:
        raise InvalidInput.of(field, f"{shown} doesn't have five fields", _EXAMPLE)
    try:
        found = next_run(expression, ZoneInfo("UTC"), _ANY)
    except CronSimError as error:
        raise InvalidInput.of(field, f"{shown} is no schedule ({error})", _EXAMPLE) from None
    if found is None:
        raise InvalidInput.of(field, f"no date fits {shown}", "name a day that a year has")
    return " ".join(fields)


def check_zone(field: str, name: str) -> ZoneInfo:
    """The IANA time zone of this name; InvalidInput if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fix = "send an IANA name, e.g. 'Asia/Shanghai'"
        raise InvalidInput.of(field, f"{name[:100]!r} is no time zone", fix) from None


def next_run(expression: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first run later than `after`, in UTC; None if there is none within fifty years.

    `expression` is as `check_cron` returned it; CronSimError for one that is none.
    """
    for run in CronSim(expression, after.astimezone(zone)):
        moment = run.astimezone(UTC)
        # In a repeated hour cronsim goes by its first pass, also when `after` lies in the second.
        if moment > after:
            return moment
    return None


def last_run(expression: str, zone: ZoneInfo, first: datetime, until: datetime) -> datetime:
    """The latest run that is not after `until`, of those from the run `first` on."""
    for back in _BACK:
        start = max(first, until - back)
        latest = _latest(expression, zone, start, until)
        if latest is not None:
            return latest
        if start == first:
            return first
    return _latest(expression, zone, first, until) or first


def _latest(expression: str, zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """The latest run after `after` and not after `until`."""
    latest = None
    for run in CronSim(expression, after.astimezone(zone)):
        moment = run.astimezone(UTC)
        if moment > until:
            break
        if moment > after:
            latest = moment
    return latest
