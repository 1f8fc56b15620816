"""Idempotency-Key: a request that is sent again is answered again, not carried out again.

The first request with a key takes a claim in Redis, is carried out to its end even if its client
goes away meanwhile (that is when clients send again), and its answer is kept for 24 h. What comes
later with the key gets that answer with `Idempotent-Replayed: true`. After
draft-ietf-httpapi-idempotency-key-header-07, but 409 also where it has 422 (other body), and 422
where it has 400 (no key where one is required). As there, for POST and PATCH: PUT and DELETE can be
sent again without one.

What is not kept: answers of 5xx, 408, 425 and 429, and exchanges that failed before an answer
began: their claim is given back and the next request is the first again. An answer larger than
256 KiB, marked `no-store` (secrets), or begun and then lost on its way (or at 32 MiB) is remembered
without its content: sent again the request is 409, not carried out twice.

Redis away: on routes that require a key nothing is carried out (503). On others it is, as if no key
had been sent, and counted as `unprotected`: the services' own unique constraints still hold, and an
outage of a cache must not stop every write.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import orjson
import structlog
from prometheus_client import CollectorRegistry

from gateway.http.stored_answer import KEPT_BODY_LIMIT, StoredAnswer
from shared.data_access.ports import Cache
from shared.errors import (
    Conflict,
    LoomaError,
    StoreError,
    StoreUnavailable,
    UpstreamError,
    UpstreamTimeout,
)
from shared.serving.background import end
from shared.telemetry.metrics import Counter

REPLAYED: Final = (b"idempotent-replayed", b"true")
LIFE_S: Final = 86_400.0
BUDGET_S: Final = 0.5
_SLACK_S: Final = 5.0  # a claim outlives the work that it is for
_PASSING: Final = frozenset({408, 425, 429})

Outcome = Literal["first", "replayed", "running", "different", "unkept", "unprotected"]
_OUTCOMES: Final[tuple[Outcome, ...]] = (
    "first", "replayed", "running", "different", "unkept", "unprotected",
)  # fmt: skip
log = structlog.get_logger()

# Each record is one line of JSON and, if the answer is kept, the answer.
# Where a key was kept by route, as it was once, it is found there until its time is over.
_CLAIM: Final = """
local found = redis.call('GET', KEYS[1]) or redis.call('GET', KEYS[2])
if found then return found end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
_REPLACE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""


class AnswerLost(UpstreamError):
    """The operation was carried out, but its answer did not come whole."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"This request was carried out, but its answer can't be passed on: {reason} "
            "Look up what it made; with another Idempotency-Key it would be carried out again."
        )


def settled(status: int) -> bool:
    """Whether an answer with this status says what became of the operation, for good."""
    return status < 500 and status not in _PASSING


def fingerprint(method: str, target: str, content_type: str, body: bytes) -> str:
    """What two requests must have in common to be the same one. `target`: path and query."""
    digest = hashlib.sha256()
    for part in (method, target, content_type):
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    digest.update(body)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Operation:
    """A request with a key. Callers that are not signed in have no keys of their own.

    A key is good for one request of its caller, whatever the path: `fingerprint` says for which.
    """

    org_id: UUID
    subject: str
    route: str  # method and template, as logs name it
    key: str
    fingerprint: str
    hold: float  # seconds that carrying it out may take
    required: bool = False  # not without protection

    @property
    def record(self) -> str:
        """Where it is kept; of bounded length."""
        return _place(str(self.org_id), self.subject, self.key)

    @property
    def record_by_route(self) -> str:
        """Where it was kept when keys were counted by route."""
        return _place(str(self.org_id), self.subject, self.route, self.key)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a request with a key, and whether it was there before."""

    answer: StoredAnswer
    replayed: bool


class Idempotency:
    """`once` per request with a key, `close` at the end."""

    def __init__(
        self,
        cache: Cache,
        registry: CollectorRegistry,
        *,
        life: float = LIFE_S,
        budget: float = BUDGET_S,
    ) -> None:
        self._cache = cache
        self._life = life
        self._budget = budget
        self._running: set[asyncio.Task[StoredAnswer]] = set()
        self._giving_back: set[asyncio.Task[None]] = set()
        counted = Counter(
            "idempotent_requests",
            "Requests with an Idempotency-Key",
            ("outcome",),
            registry=registry,
        )
        self._counted = {outcome: counted.labels(outcome) for outcome in _OUTCOMES}

    async def once(
        self, operation: Operation, execute: Callable[[], Awaitable[StoredAnswer]]
    ) -> Answered:
        """The answer of `execute`, which runs unless the operation was carried out before.

        Raises what `execute` raises, Conflict for a key that is in use, StoreUnavailable if the
        operation requires protection that can't be had. Once begun, `execute` runs to its end,
        whatever becomes of the caller.
        """
        claim = _line(operation.fingerprint, "running", by=uuid4().hex)
        try:
            found = await self._eval(
                _CLAIM, operation, claim, _milliseconds(operation.hold + _SLACK_S)
            )
        except asyncio.CancelledError:
            self._give_back(operation, claim)
            raise
        except (StoreError, TimeoutError) as error:
            if operation.required:
                self._give_back(operation, claim)
                raise StoreUnavailable(
                    "Idempotency-Key can't be honoured now, so nothing was carried out. Try again."
                ) from error
            log.warning("an Idempotency-Key is not honoured", route=operation.route)
            self._counted["unprotected"].inc()
            return Answered(await execute(), replayed=False)
        if found is not None:
            return Answered(self._known(operation, found), replayed=True)
        self._counted["first"].inc()
        task = asyncio.create_task(self._carry_out(operation, claim, execute))
        self._running.add(task)
        task.add_done_callback(self._done)
        return Answered(await asyncio.shield(task), replayed=False)

    async def close(self) -> None:
        """Stop what is still running; its claims stay, as nobody knows how far it came."""
        await end([*self._running, *self._giving_back])

    def _known(self, operation: Operation, found: bytes) -> StoredAnswer:
        line, _, kept = found.partition(b"\n")
        record = orjson.loads(line)
        if record["fingerprint"] != operation.fingerprint:
            self._counted["different"].inc()
            raise Conflict(
                "This Idempotency-Key was used for another request. Use a new key for each."
            )
        if record["state"] == "running":
            self._counted["running"].inc()
            raise Conflict(
                "The first request with this Idempotency-Key is still being carried out. "
                "Send this one again.",
                retry_after=1,
            )
        if not kept:
            self._counted["unkept"].inc()
            raise Conflict(
                "This request was carried out, but its answer was not kept (too large, secret or "
                "lost). "
                "Look up what it made; use a new key to carry it out again."
            )
        self._counted["replayed"].inc()
        return StoredAnswer.from_bytes(kept)

    def _give_back(self, operation: Operation, claim: bytes) -> None:
        """Nothing is carried out for a claim of which nobody heard whether it was made."""
        task = asyncio.create_task(self._given_back(operation, claim))
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)

    async def _given_back(self, operation: Operation, claim: bytes) -> None:
        try:
            await self._eval(_REPLACE, operation, claim, b"", 1)
        except (StoreError, TimeoutError):
            log.warning("a claim is left to expire", route=operation.route)

    async def _carry_out(
        self, operation: Operation, claim: bytes, execute: Callable[[], Awaitable[StoredAnswer]]
    ) -> StoredAnswer:
        try:
            async with asyncio.timeout(operation.hold):
                answer = await execute()
        except TimeoutError:
            await self._replace(operation, claim, b"")
            raise UpstreamTimeout("The service took too long. Send the request again.") from None
        except AnswerLost:
            await self._replace(operation, claim, _line(operation.fingerprint, "done"))
            raise
        except Exception:  # whatever it was: the next request is the first again
            await self._replace(operation, claim, b"")
            raise
        await self._replace(operation, claim, _kept(operation, answer))
        return answer

    async def _replace(self, operation: Operation, claim: bytes, record: bytes) -> None:
        """Put `record` (b'': nothing) in the place of the claim. If that fails the claim expires."""
        try:
            replaced = await self._eval(
                _REPLACE, operation, claim, record, _milliseconds(self._life)
            )
        except (StoreError, TimeoutError):
            replaced = None
        if not replaced:
            log.warning("an answer is not kept for its Idempotency-Key", route=operation.route)

    async def _eval(self, script: str, operation: Operation, *args: bytes | int) -> Any:
        async with asyncio.timeout(self._budget):
            places = [operation.record, operation.record_by_route]
            return await self._cache.eval(script, places, args)

    def _done(self, task: asyncio.Task[StoredAnswer]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, LoomaError):
            log.error("a request with an Idempotency-Key failed", exc_info=error)


def _place(*parts: str) -> str:
    return "idempotency:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _line(of: str, state: str, **more: str) -> bytes:
    return orjson.dumps({"fingerprint": of, "state": state, **more})


def _kept(operation: Operation, answer: StoredAnswer) -> bytes:
    """The record of an answer; b'' if the request may be carried out again."""
    if not settled(answer.status):
        return b""
    done = _line(operation.fingerprint, "done")
    if len(answer.body) > KEPT_BODY_LIMIT or "no-store" in answer.directives():
        return done
    return done + b"\n" + answer.to_bytes()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
