"""POST /api/v1/batch: many requests in one, each as if it had been sent alone.

Every item is carried out by the injected `execute` with the caller's own identity, through the same
path normalisation, route table, scopes, limits and metrics as any request. Ten at a time, answers in
the order of the items, an end for all of them: what isn't done by then is 504, the others stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog

from gateway.http.stored_answer import StoredAnswer
from gateway.own_api.batch_items import SubRequest, read_items
from shared.errors import LoomaError, UpstreamTimeout, render
from shared.wire import REQUEST_ID_HEADER

CONCURRENCY: Final = 10
DEADLINE_S: Final = 30.0
ITEM_LIMIT: Final = 1 << 20  # bytes of an item's answer that are passed on
TOTAL_LIMIT: Final = 8 << 20  # the same for all items together
_LARGE: Final = 64 << 10  # bytes of a batch that are read off the event loop
_RETURNED: Final = frozenset(
    {
        b"content-type", b"location", b"etag", b"cache-control", b"age", b"vary", b"allow",
        b"retry-after", b"www-authenticate", b"idempotent-replayed", REQUEST_ID_HEADER.encode(),
        b"ratelimit", b"ratelimit-policy", b"ratelimit-limit", b"ratelimit-remaining",
        b"ratelimit-reset",
    }
)  # fmt: skip
log = structlog.get_logger()


# Answers, or raises a LoomaError. May be cancelled at any time; should read no more of an answer
# than ITEM_LIMIT and one byte.
Execute = Callable[[SubRequest], Awaitable[StoredAnswer]]


async def run_batch(
    body: bytes,
    execute: Execute,
    *,
    deadline: float = DEADLINE_S,
    concurrency: int = CONCURRENCY,
) -> dict[str, Any]:
    """Carry out a batch: the `data` of its answer (BatchOut), for orjson.

    Raises as `read_items` does if the batch as a whole is wrong; a wrong item is answered in its
    place.
    """
    large = len(body) > _LARGE
    items = await asyncio.to_thread(read_items, body) if large else read_items(body)
    batch = _Batch(items, execute, deadline)
    try:
        async with asyncio.timeout(deadline), asyncio.TaskGroup() as group:
            numbers = iter(range(len(items)))
            for _ in range(min(concurrency, len(items))):
                group.create_task(batch.work(numbers))
    except TimeoutError:
        log.warning("batch not done in time", items=len(items), done=batch.done)
    return {"responses": batch.answers()}


class _Batch:
    def __init__(
        self, items: Sequence[SubRequest | LoomaError], execute: Execute, deadline: float
    ) -> None:
        self._items = items
        self._execute = execute
        self._deadline = deadline
        self._answers: list[dict[str, Any] | None] = [None] * len(items)
        self._ids = [
            str(uuid4()) if isinstance(item, LoomaError) else item.request_id for item in items
        ]
        self._begun: set[int] = set()
        self._room = TOTAL_LIMIT

    @property
    def done(self) -> int:
        return sum(answer is not None for answer in self._answers)

    async def work(self, numbers: Iterator[int]) -> None:
        """Carry out items until there are none; several of these share the numbers."""
        for number in numbers:
            self._answers[number] = await self._answer(number)

    def answers(self) -> list[dict[str, Any]]:
        return [answer or self._late(number) for number, answer in enumerate(self._answers)]

    async def _answer(self, number: int) -> dict[str, Any]:
        item, request_id = self._items[number], self._ids[number]
        if isinstance(item, LoomaError):
            return _failure(item, request_id)
        self._begun.add(number)
        try:
            answer = await self._execute(item)
        except Exception as error:  # an edge: one item's failure is that item's answer
            rendered = _failure(error, request_id)
            if rendered["status"] == 500:
                log.exception("batch item failed", request_id=request_id)
            return rendered
        return self._passed_on(answer)

    def _passed_on(self, answer: StoredAnswer) -> dict[str, Any]:
        headers = {
            name.decode(): value.decode("latin-1")
            for name, value in answer.headers
            if name in _RETURNED
        }
        result: dict[str, Any] = {"status": answer.status, "headers": headers, "body": None}
        size = len(answer.body)
        if size > min(ITEM_LIMIT, self._room):
            result["omitted"] = "too_large"
            return result
        self._room -= size
        if answer.body:
            try:
                result["body"] = _readable(answer)
            except UnicodeDecodeError:
                result["omitted"] = "not_text"
        return result

    def _late(self, number: int) -> dict[str, Any]:
        state = (
            "did not end in time; it may have been carried out"
            if number in self._begun
            else "was not begun in time"
        )
        error = UpstreamTimeout(
            f"This item {state}: a batch has {self._deadline:g} s. Send fewer items at once."
        )
        return _failure(error, self._ids[number])


def _readable(answer: StoredAnswer) -> Any:
    """JSON as it came (checked: a service may say JSON and send something else), or text."""
    if "json" in answer.header(b"content-type"):
        try:
            orjson.loads(answer.body)
            return orjson.Fragment(answer.body)
        except orjson.JSONDecodeError:
            pass  # it is passed on as the text that it is
    return answer.body.decode()


def _failure(error: Exception, request_id: str) -> dict[str, Any]:
    status, body, headers = render(error, request_id)
    lower = {name.lower(): value for name, value in headers.items()}
    return {
        "status": status,
        "headers": {"content-type": "application/json", **lower},
        "body": body,
    }
