"""Answers about portraits, kept in Redis for as long as what they were made of is as it was.

A reading first asks PostgreSQL, in one round trip, for the mark of the subject's portraits: whatever
changes them renews it in its own transaction (migrations/0005_portrait_marks.sql). An answer is kept
under that mark, so one that was made before a refresh is never found after it: no time to live has to
run out, and no message to arrive. What a mark can't vouch for (call by call) is not kept. While Redis
is away every answer is made anew.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args
from uuid import UUID

import orjson
import structlog
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from ai_services.portrait.dimension import ORGANISATION, Subject
from ai_services.portrait.period import PeriodType
from shared.data_access.ports import Cache, Relational
from shared.errors import NotFound, StoreError
from shared.serving.single_flight import SingleFlight
from shared.telemetry.metrics import Counter

LARGEST: Final = 256 * 1024  # bytes of an answer that is kept
KEPT_S: Final = 600.0  # answers whose mark is gone leave Redis by then
BUDGET_S: Final = 0.25  # an answer is made rather than a slow Redis waited for
_FORM: Final = 1  # of what is kept: another one, and nothing kept before is found

# hit, miss: of look-ups; unmarked: no mark is known yet, so nothing is looked up; skipped: an answer
# too large to keep; away: look-ups and answers, while Redis is.
Outcome = Literal["hit", "miss", "unmarked", "skipped", "away"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
_log = structlog.get_logger("looma.portrait")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a reading begins with. `id` is under whom a customer's calls are, '' for the organisation;
    `oldest` and `newest` are the keys between which the organisation has calls.
    """

    mark: UUID | None
    id: str | None
    oldest: str | None
    newest: str | None


class Answers:
    """`close` ends what is being made."""

    def __init__(
        self,
        relational: Relational,
        cache: Cache,
        registry: CollectorRegistry,
        *,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._relational = relational
        self._cache = cache
        self._budget_s = budget_s
        self._away = False
        self._flights = SingleFlight[str, bytes]("portrait answers")
        counter = Counter(
            "portrait_answers_cache",
            "Look-ups of kept answers, and answers to keep, by what came of them",
            ("outcome",),
            registry=registry,
        )
        self._counts = {outcome: counter.labels(outcome) for outcome in OUTCOMES}

    async def of(
        self,
        org_id: UUID,
        subject: Subject | None,
        period_type: PeriodType,
        asked: tuple[str, BaseModel],
        make: Callable[[], Awaitable[BaseModel]],
    ) -> orjson.Fragment:
        """The JSON of what `make` returns, as it is kept or made now.

        `subject` None is the organisation; `asked` is what else the answer depends on: its kind and
        the query. NotFound for a customer who has no calls, whatever is kept.
        """

        async def made() -> bytes:
            return orjson.dumps((await make()).model_dump(mode="json"))

        return orjson.Fragment(await self.bytes_of(org_id, subject, period_type, asked, made))

    async def bytes_of(
        self,
        org_id: UUID,
        subject: Subject | None,
        period_type: PeriodType,
        asked: tuple[str, BaseModel],
        make: Callable[[], Awaitable[bytes]],
    ) -> bytes:
        """`of` for answers that are not JSON."""
        standing = await self._standing(org_id, subject, period_type)
        if subject is not None and standing.id is None:
            raise NotFound(f"There are no calls of the {subject.dimension.name} {subject.id!r}.")
        if standing.mark is None:
            self._counts["unmarked"].inc()
            return await make()
        key = _key(org_id, subject, standing, asked)
        return await self._flights.do(key, lambda: self._found_or_made(key, make))

    def close(self) -> None:
        self._flights.close()

    async def _standing(
        self, org_id: UUID, subject: Subject | None, period_type: PeriodType
    ) -> Standing:
        dimension = ORGANISATION.name if subject is None else subject.dimension.name
        called = "" if subject is None else subject.id
        if "\0" in called:
            raise NotFound("There is no such subject: an id holds no NUL.")
        async with self._relational.calling(org_id) as call:
            (row,) = await call("portrait_reading", dimension, called, period_type)
        return Standing(row["mark"], row["standing"], row["oldest"], row["newest"])

    async def _found_or_made(self, key: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        found = await self._asked_redis(self._cache.get(key))
        if found is not None:
            self._counts["hit"].inc()
            return found
        answer = await make()
        if len(answer) > LARGEST:
            self._counts["skipped"].inc()
        elif not self._away:
            self._counts["miss"].inc()
            await self._asked_redis(self._cache.set(key, answer, ttl=KEPT_S))
        return answer

    async def _asked_redis(self, asking: Awaitable[bytes | None]) -> bytes | None:
        """What Redis says; None while it is away, which is logged once."""
        try:
            async with asyncio.timeout(self._budget_s):
                found = await asking
        except (StoreError, TimeoutError) as error:
            self._counts["away"].inc()
            if not self._away:
                self._away = True
                _log.warning("answers are not kept while Redis is away", reason=str(error))
            return None
        if self._away:
            self._away = False
            _log.info("answers are kept again")
        return found


def _key(
    org_id: UUID, subject: Subject | None, standing: Standing, asked: tuple[str, BaseModel]
) -> str:
    kind, query = asked
    dimension = ORGANISATION.name if subject is None else subject.dimension.name
    parts = [
        _FORM, dimension, standing.id, standing.oldest, standing.newest, kind,
        query.model_dump(mode="json"),
    ]  # fmt: skip
    digest = hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()
    return f"portrait:{org_id}:{standing.mark}:{digest}"
