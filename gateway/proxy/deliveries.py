"""Deliveries that do more than send: keep an answer, collect it, or hand the connection over."""

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


class Keeping(Delivery):
    """Sends an answer and keeps it in the response cache, if that is allowed."""

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
    """Reads an answer to its end into `kept`, whether a client waits for it or not.

    Raises AnswerLost if only that went wrong after the service had done its work.
    """

    def __init__(self, request_id: str, idle: float) -> None:
        super().__init__()
        self._request_id = request_id
        self._idle = idle
        self.kept: StoredAnswer | None = None

    async def first(self, answered: Answered) -> bool:
        connection, idle = answered.connection, self._idle
        since = time.perf_counter()
        try:
            self.kept = await within(
                idle, collected(connection, idle, _COLLECTED, self._request_id)
            )
        except (UpstreamError, TimeoutError) as error:
            if settled(connection.status):
                raise AnswerLost(str(error) or "it took too long.") from error
            raise
        finally:
            self.waited = time.perf_counter() - since
        return True


class HandingOver(Delivery):
    """Leaves an answer of 101 to the caller, as `answered` and `slot`; sends any other."""

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
    """The request's If-None-Match, '' without one."""
    headers = request.headers
    return ", ".join(headers.getall("if-none-match")) if "if-none-match" in headers else ""


def _collectable(connection: Connection) -> bool:
    return connection.length is not None and may_keep(
        connection.status, connection.headers, connection.length
    )
