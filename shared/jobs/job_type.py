"""A kind of job as data: what it is called, what does it, and within which bounds."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

from shared.jobs.backoff import Retry
from shared.jobs.context import JobContext
from shared.jobs.cron import check_cron

S = TypeVar("S")

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MOST_PRIORITY: Final = 100
_LONGEST: Final = timedelta(days=7)

# Returns what there is to tell of the result, or None. Small: at most 16 KiB of JSON.
Handler = Callable[[JobContext[S], Mapping[str, Any]], Awaitable[Mapping[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class JobType(Generic[S]):
    """`handler(context, args)` does it, in the event loop: what computes for long goes elsewhere.

    `time_limit` bounds the running time of an attempt, over all claims that it takes. `max_lost`
    claims in a row may be lost (the process was killed, or stood still) without a checkpoint in
    between; then the job is dead, as it may be what kills its process. `exclusive`: one of this
    name at a time for each organisation. `in_order`: of an organisation's jobs of this name that have
    keys none begins before those that were asked for earlier have ended, whether they wait to be tried
    again, are paused or were lost; one that has ended and is retried comes first again. `cron` is the schedule that organisations have unless
    they choose their own, in their time zone; with `per_org` False it runs once, for the platform,
    by UTC. `priority` (-100 to 100, the highest first) orders the jobs of one organisation.
    """

    name: str
    handler: Handler[S] = field(repr=False)
    time_limit: timedelta
    summary: str
    retry: Retry = field(default_factory=Retry)
    max_lost: int = 10
    priority: int = 0
    exclusive: bool = False
    in_order: bool = False
    cron: str | None = None
    per_org: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"job name {self.name!r}: use a-z, 0-9 and _, 63 at most")
        if not timedelta(0) < self.time_limit <= _LONGEST:
            raise ValueError(f"{self.name}: time_limit {self.time_limit} is not within 7 days")
        if abs(self.priority) > _MOST_PRIORITY or self.max_lost < 1:
            raise ValueError(f"{self.name}: priority is -100 to 100, max_lost at least 1")
        if self.cron is not None:
            check_cron(f"{self.name}.cron", self.cron)
