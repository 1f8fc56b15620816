"""Revocations: sessions that ended before their tokens expire, and API keys that changed or ended.

Two ways in, either is enough: messages on the cache channel `revocations`, and a poll of the auth
service every 2 s. While neither works, tokens are still accepted (they live 15 minutes) and
`age` tells for how long nothing was heard: an outage of the auth service must not sign out
everybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import orjson
import structlog

from gateway.upstream.service_calls import ServiceCalls
from shared.data_access.ports import Cache
from shared.errors import LoomaError, UpstreamError

CHANNEL: Final = "revocations"
POLL_S: Final = 2.0
_PAGE: Final = 5000
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Notice:
    number: int  # in the order in which they came
    made: float
    ends: float  # when nothing that it is about can be alive or remembered any more


class Revocations:
    """The notices that have come: `ended` looks one up, `poll_forever` and `listen_forever` fetch.

    Notices are numbered as they come; `heard` is the last number. What was asked for when `heard`
    was at least `heard_at(mark)` is newer than every notice about `mark`.
    """

    def __init__(
        self, calls: ServiceCalls, cache: Cache, clock: Callable[[], float] = time.time
    ) -> None:
        self._calls = calls
        self._cache = cache
        self._clock = clock
        self._ended: dict[str, _Notice] = {}  # by subject
        self.heard = 0
        self._since: str | None = None
        self._polled_at: float | None = None

    def ended(self, mark: str) -> bool:
        """Whether what is named so (`Caller.mark`) has ended."""
        return bool(self._ended) and mark in self._ended

    def heard_at(self, mark: str) -> int:
        """The number of the last notice about `mark`; 0 without one."""
        notice = self._ended.get(mark)
        return 0 if notice is None else notice.number

    @property
    def age(self) -> float | None:
        """Seconds since the last successful poll; None before the first."""
        return None if self._polled_at is None else self._clock() - self._polled_at

    async def poll_forever(self) -> None:
        """Poll every 2 s; an auth service that is away is logged once."""
        reachable = True
        while True:
            try:
                await self.poll()
                reachable = True
            except LoomaError as error:
                if reachable:
                    log.warning("revocations are not heard of", reason=error.message)
                reachable = False
            await asyncio.sleep(POLL_S)

    async def listen_forever(self) -> None:
        """Take messages as they come; StoreUnavailable when the cache is away."""
        async with self._cache.subscribe(CHANNEL) as messages:
            async for message in messages:
                try:
                    self._take(orjson.loads(message))
                except (KeyError, ValueError, TypeError):
                    log.warning("unreadable message", channel=CHANNEL)

    async def poll(self) -> None:
        """Fetch what is new since the last poll; UpstreamError if the auth service can't tell."""
        cursor: str | None = None
        as_of: str | None = None
        while True:
            page = await self._page(cursor)
            as_of = as_of or page["as_of"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        self._since = as_of
        self._polled_at = self._clock()
        self._forget()

    async def _page(self, cursor: str | None) -> Mapping[str, Any]:
        wanted = {"limit": str(_PAGE), "since": self._since, "cursor": cursor}
        query = urlencode({name: value for name, value in wanted.items() if value is not None})
        status, answer = await self._calls.ask("auth", "GET", f"/internal/v1/revocations?{query}")
        if status != 200:
            raise UpstreamError(f"The auth service answers {status} when asked for revocations.")
        try:
            data: Mapping[str, Any] = answer["data"]
            for item in data["items"]:
                self._take(item)
            return {"as_of": str(data["as_of"]), "next_cursor": data["next_cursor"]}
        except (KeyError, ValueError, TypeError) as error:
            raise UpstreamError("The auth service sent revocations that are none.") from error

    def _take(self, item: Mapping[str, Any]) -> None:
        subject, ends = str(item["subject"]), _seconds(item["expires_at"])
        made = _seconds(item["revoked_at"])
        known = self._ended.get(subject)
        # The same notice comes by message and by several polls.
        if ends > self._clock() and (known is None or made > known.made):
            self.heard += 1
            self._ended[subject] = _Notice(self.heard, made, ends)

    def _forget(self) -> None:
        now = self._clock()
        for subject in [subject for subject, notice in self._ended.items() if notice.ends <= now]:
            del self._ended[subject]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
