"""Lines about requests: those that fail or are slow, and at LOG_LEVEL=debug all.

A line costs more than a quick request and a log holds so much, so that what is usual leaves none.
What failed is told only so many times a second, and what was refused so many times beside it: whoever
sends requests that are refused must not be able to push what others did out of the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from shared.errors import LoomaError

SLOW_S: Final = 1.0
_LINES_PER_S: Final = 50.0
_BURST: Final = 500.0
log = structlog.get_logger()


class LineBudget:
    """So many lines a second; `left_out` counts those that were too many since the last one."""

    def __init__(
        self,
        per_second: float = _LINES_PER_S,
        burst: float = _BURST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._seen = clock()
        self._left_out = 0

    def take(self) -> dict[str, int] | None:
        """None if this line is one too many; else what it has to tell of those that were."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        if self._left < 1.0:
            self._left_out += 1
            return None
        self._left -= 1.0
        left_out, self._left_out = self._left_out, 0
        return {"left_out": left_out} if left_out else {}


class AccessLog:
    """The lines `request` of one process. They are written inside the request's context."""

    def __init__(
        self, level: str, failed: LineBudget | None = None, refused: LineBudget | None = None
    ) -> None:
        """`level` is LOG_LEVEL; `refused` is for what was the client's fault (4xx) and quick."""
        self.tells_all = level == "debug"
        self._failed = failed or LineBudget()
        self._refused = refused or LineBudget()

    def note(
        self,
        status: int,
        seconds: float,
        route: str,
        failure: BaseException | None = None,
        **more: Any,
    ) -> None:
        """Write the line of a request that was answered with `status`, if it is to have one.

        `route` is its template, '' where none matched: paths and queries hold whom it is about. So
        do messages that quote a request: of `failure`, what was answered with if it was raised
        here, the name is told, and the message only if it is ours (5xx).
        """
        usual = status < 400 and seconds < SLOW_S
        if usual and not self.tells_all:
            return
        budget = self._refused if 400 <= status < 500 and seconds < SLOW_S else self._failed
        known: dict[str, Any] | None = {} if usual else budget.take()
        if known is None:
            return
        if isinstance(failure, LoomaError):
            known = {**known, "error": failure.name}
            if status >= 500:
                known["reason"] = failure.message
        level = log.debug if usual else log.warning if status >= 500 else log.info
        level(
            "request",
            **more,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            **known,
        )
