"""Answers that are not passed on as they come: kept, collected, or handed over."""

from __future__ import annotations

import time
from typing import Final

from gateway.http.request import GatewayRequest
from gateway.http.stored_answer import KEPT_BODY_LIMIT, StoredAnswer
from gateway.proxy.answering import Answering, collected
from gateway.proxy.delivery import Delivery
from gateway.proxy.idempotency import AnswerLost, settled
from gateway.proxy.response_cache import Question, ResponseCache, may_keep
from gateway.timeouts import within
from gateway.upstream.attempts import Answered
from gateway.upstream.connection import Connection
from shared.errors import UpstreamError

_COLLECTED: Final = 32 << 20  # bytes of an answer to a request with an Idempotency-Key
_REFUSAL: Final = 1 << 20  # bytes of what a service answers instead of 101
_NO_FAILURE: Final[BaseException | None] = None


class Keeping(Delivery):
    """Kept for the next who asks, if it may be; passed on as it comes if not."""

    def __init__(
        self,
        request: GatewayRequest,
        answering: Answering,
        idle: float,
        cache: ResponseCache,
        question: Question,
    ) -> None:
        super().__init__()
        self._request = request
        self._answering = answering
        self._idle = idle
        self._cache = cache
        self._question = question

    async def first(self, answered: Answered) -> bool:
        connection, request = answered.connection, self._request
        if not _collectable(connection):
            return await self._answering.first(answered)
        since = time.perf_counter()
        kept = await collected(connection, self._idle, KEPT_BODY_LIMIT, request.id)
        self.waited = time.perf_counter() - since
        told = if_none_match(request)
        await self._answering.whole(self._cache.keep(self._question, kept, told))
        return True

    async def rest(self, answered: Answered) -> None:
        await self._answering.rest(answered)


class Collecting(Delivery):
    """Collected, whether a client waits for it or not: `kept`.

    Raises AnswerLost if only that went wrong after the service had done its work.
    """

    def __init__(self, request_id: str, idle: float) -> None:
        super().__init__()
        self._request_id = request_id
        self._idle = idle
        self.kept: StoredAnswer | None = None

    async def first(self, answered: Answered) -> bool:
        connection, idle, failure = answered.connection, self._idle, _NO_FAILURE
        since = time.perf_counter()
        try:
            self.kept = await within(
                idle, collected(connection, idle, _COLLECTED, self._request_id)
            )
        except BaseException as error:  # noqa: BLE001 - raised below
            failure = error
        self.waited = time.perf_counter() - since
        if failure is None:
            return True
        if isinstance(failure, UpstreamError | TimeoutError) and settled(connection.status):
            raise AnswerLost(str(failure) or "it took too long.") from failure
        raise failure


class HandingOver(Delivery):
    """An answer of 101 is left to whoever asked to leave HTTP: `answered`, `slot`. Any other is
    sent.
    """

    def __init__(self, request: GatewayRequest, answering: Answering, idle: float) -> None:
        super().__init__()
        self._request = request
        self._answering = answering
        self._idle = idle
        self.status = 0
        self.answered: Answered | None = None

    async def first(self, answered: Answered) -> bool:
        connection = answered.connection
        self.status = connection.status
        if connection.status == 101:
            self.answered = answered
            self.taken = True
            return True
        since = time.perf_counter()
        kept = await collected(connection, self._idle, _REFUSAL, self._request.id)
        self.waited = time.perf_counter() - since
        whole = StoredAnswer(kept.status, tuple(connection.headers), kept.body)
        await self._answering.whole(whole)
        return True


def if_none_match(request: GatewayRequest) -> str:
    """'' without one."""
    headers = request.headers
    return ", ".join(headers.getall("if-none-match")) if "if-none-match" in headers else ""


def _collectable(connection: Connection) -> bool:
    return connection.length is not None and may_keep(
        connection.status, connection.headers, connection.length
    )
