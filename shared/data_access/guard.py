"""Keeps callers from waiting for a store that doesn't answer, one after the other.

A store that hangs costs whoever calls it the adapter's whole timeout. The first call that finds
it unavailable makes the guard ask the store itself: a probe over a connection of its own, not
queued behind anybody's calls. Only if that isn't answered either is the store down, and calls are
refused at once with StoreUnavailable until a probe, every half second, is answered again.

So no caller shuts a store to others: a query that is too expensive is the first half of the
evidence at most, and the probe says that the store is well. Nor does a store count as down whose
probe isn't answered while calls are: a server that is busy may have no time for a new connection,
and whatever is under way there goes on. A call that takes more than a second is a reason to probe
as well, beside all others; after one that failed, others wait a quarter of a second for what the
probe says, before they find out for themselves. Once the store is down whatever is under way ends.

Each process has guards of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Final

import structlog

from shared.data_access.errors import Translator
from shared.data_access.store_span import store_span
from shared.errors import StoreError, StoreUnavailable

Probe = Callable[[], Awaitable[bool | str]]

UP: Final = "up"
_EVERY_S: Final = 0.5
_PATIENCE_S: Final = 2.0  # a server that is cold, or has much to do, needs a second at times
_STALE_S: Final = 5.0
_LONG_S: Final = 1.0
_HELD_S: Final = 0.25  # most probes are answered within milliseconds
_RETRY_AFTER_S: Final = 1.0
_REFUSES: Final = "The {store} answers, but refuses to serve. The log has the details."
_log = structlog.get_logger("looma.store")


class Guard:
    """Of one adapter, all of whose calls are made within `call`.

    `translator` is the adapter's. `probe` asks the store over no connection that calls use, and
    returns whether it answers: a refusal (of credentials, of writes, for want of connections) is an
    answer, for callers to meet and to be told about. A probe that is refused returns why, for the
    log; `condition` tells that it was. It may raise OSError. `namespace` is the database's name, for
    spans.
    """

    def __init__(
        self,
        translator: Translator,
        probe: Probe,
        *,
        every: float = _EVERY_S,
        patience: float = _PATIENCE_S,
        long: float = _LONG_S,
        namespace: str = "",
    ) -> None:
        self.store = translator.store
        self._namespace = namespace
        self.refused = 0  # calls, since the process began
        self._translator = translator
        self._probe = probe
        self._every = every
        self._patience = patience
        self._long = long
        self._down_since: float | None = None
        self._refusal = ""  # what the last probe was answered instead of being served
        self._asked_at = self._answered_at = -_STALE_S
        self._call_answered_at = -_STALE_S
        self._closed = False
        # Probes speak for all calls: their log lines name no request, not the one that began them.
        self._nobody = copy_context()
        self._verdict: asyncio.Future[None] | None = None  # what callers wait for
        self._watch: asyncio.Task[None] | None = None
        self._limits: set[asyncio.Timeout] = set()  # of the calls under way

    @asynccontextmanager
    async def call(self, seconds: float, what: str, collection: str = "") -> AsyncIterator[None]:
        """Run the block in at most `seconds`, its errors translated, as one span of the trace.

        `what` is the operation or a statement, `collection` what it is about (see store_span).
        StoreUnavailable at once while the store is down, and as soon as it is found to be.
        """
        with store_span(self._translator.system, self._namespace, what, collection):
            await self.admit()
            probe = asyncio.get_running_loop().call_later(self._long, self._look)
            try:
                with self._translator:
                    async with asyncio.timeout(seconds) as limit:
                        self._limits.add(limit)
                        try:
                            yield
                        finally:
                            self._limits.discard(limit)
            except StoreUnavailable:
                self.suspect()
                raise
            except StoreError:  # a refusal is an answer
                self._call_answered()
                raise
            else:
                self._call_answered()
            finally:
                probe.cancel()

    async def admit(self) -> None:
        """Return if calls may be made; StoreUnavailable while the store is down."""
        await self._told()
        if self._down_since is not None:
            self.refused += 1
            raise self.unavailable()

    @property
    def up(self) -> bool:
        """False from the first probe that wasn't answered until the next one that is."""
        return self._down_since is None

    def suspect(self) -> None:
        """Someone found the store unavailable: probe, and refuse calls if that fails too."""
        if self._look():
            loop = asyncio.get_running_loop()
            self._verdict = verdict = loop.create_future()
            loop.call_later(_HELD_S, _let_go, verdict)

    def condition(self) -> str:
        """'up', or what is wrong, without a wait; asks for itself where nobody has lately."""
        if time.monotonic() - self._asked_at > _STALE_S:
            self._look()
        if self._down_since is not None:
            return self.unavailable().message
        return _REFUSES.format(store=self.store) if self._refusal else UP

    async def ask(self) -> None:
        """Probe a store that is thought to be down; StoreUnavailable unless it answers.

        For pings: the first that is answered after an outage ends it for all calls.
        """
        await self._told()
        if self._down_since is not None:
            if not await self._answers():
                raise self.unavailable()
            self._is_up()

    async def close(self) -> None:
        """No probe is under way from now on."""
        self._closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    def unavailable(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"The {self.store} doesn't answer; it is asked again every {self._every:g} s. "
            "Try again in a moment.",
            retry_after=_RETRY_AFTER_S,
        )

    # -- probing -----------------------------------------------------------------------------

    def _look(self) -> bool:
        """Begin to probe until that is answered; False if somebody has begun already."""
        if self._closed or (self._watch is not None and not self._watch.done()):
            return False
        self._watch = asyncio.get_running_loop().create_task(
            self._until_answered(), name=f"guard {self.store}", context=self._nobody
        )
        return True

    async def _until_answered(self) -> None:
        told = False
        try:
            while not await self._answered_since(began := time.monotonic()):
                if self._call_answered_at < began:
                    self._is_down()
                elif self.up and not told:
                    told = True
                    _log.warning("store_probe_unanswered_but_calls_are", store=self.store)
                self._tell()
                await asyncio.sleep(self._every * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            self._is_up()
        finally:
            self._tell()

    async def _answered_since(self, moment: float) -> bool:
        """Probe; what somebody else's probe found out meanwhile is newer than a failure of ours."""
        return await self._answers() or self._answered_at >= moment

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                answer = await self._probe()
        except (OSError, StoreError):  # TimeoutError is an OSError
            answer = False
        except Exception:  # noqa: BLE001 - logged; a defect of the probe must not keep callers away
            _log.exception("store_probe_failed", store=self.store)
            answer = True
        self._note_refusal(answer if isinstance(answer, str) else "")
        self._asked_at = time.monotonic()
        if answer is not False:
            self._answered_at = self._asked_at
        return answer is not False

    def _note_refusal(self, why: str) -> None:
        if why and why != self._refusal:
            _log.warning("store_refuses", store=self.store, text=why[:500])
        self._refusal = why

    def _is_down(self) -> None:
        if self._down_since is None:
            self._down_since = time.monotonic()
            _log.warning("store_down", store=self.store)
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)

    def _is_up(self) -> None:
        if self._down_since is not None:
            seconds = round(time.monotonic() - self._down_since, 1)
            self._down_since = None
            _log.info("store_up_again", store=self.store, after_s=seconds)

    def _call_answered(self) -> None:
        self._call_answered_at = time.monotonic()
        self._tell()

    def _tell(self) -> None:
        """Let go whoever waits for what the probe says."""
        verdict, self._verdict = self._verdict, None
        if verdict is not None:
            _let_go(verdict)

    async def _told(self) -> None:
        verdict = self._verdict
        if verdict is not None and not verdict.done():
            await asyncio.wait((verdict,))


def _let_go(verdict: asyncio.Future[None]) -> None:
    if not verdict.done():
        verdict.set_result(None)
