"""Answers of models that are kept for a time, for requests that are the same.

A key is the SHA-256 over all that an answer depends on, made by the caller, and names an answer
within one organisation only. Redis holds answers as they are, or encrypted with AES-GCM by a key of
the organisation's own, bound to the organisation and the key they are stored under. While Redis is
away every request is a miss.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal, get_args
from uuid import UUID

from prometheus_client import CollectorRegistry

from ai_services.llm.privacy.seal import Seal
from shared.data_access.ports import Cache
from shared.errors import StoreError
from shared.telemetry.metrics import Counter

LARGEST: Final = 256 * 1024  # bytes of an answer that is kept
BUDGET_S: Final = 0.25  # a model is asked rather than a slow cache waited for
_PLAIN: Final = b"\x00"  # the first byte of what is stored tells how the rest is to be read
_SEALED: Final = b"\x01"
_LABEL: Final = b"looma llm answers"

# hit, miss: of look-ups; unreadable: stored by another DATA_KEY, moved or spoilt, so a miss;
# stored; skipped: an answer too large to keep; away: look-ups and answers, while Redis is.
Outcome = Literal["hit", "miss", "unreadable", "stored", "skipped", "away"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


class AnswersCache:
    """`get` before a model is asked; `put` after it, an answer that was found valid and no other."""

    def __init__(
        self,
        cache: Cache,
        data_key: bytes,
        registry: CollectorRegistry,
        *,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._cache = cache
        self._seal = Seal(data_key, _LABEL)
        self._budget_s = budget_s
        counter = Counter(
            "llm_answers_cache",
            "Look-ups of kept answers, and answers to keep, by what came of them",
            ("outcome",),
            registry=registry,
        )
        self._counts = {outcome: counter.labels(outcome) for outcome in OUTCOMES}

    async def get(self, org_id: UUID, key: bytes) -> bytes | None:
        """The answer that is kept, encrypted or not; None if there is none that can be read."""
        outcome, answer = await self._looked_up(org_id, key)
        self._counts[outcome].inc()
        return answer

    async def put(
        self, org_id: UUID, key: bytes, answer: bytes, *, ttl: float, encrypted: bool
    ) -> None:
        """Keep a valid answer for `ttl` seconds, unless it is too large or Redis is away."""
        if len(answer) > LARGEST:
            self._counts["skipped"].inc()
            return
        stored = _PLAIN + answer
        if encrypted:
            stored = _SEALED + self._seal.seal(org_id, key, answer)
        try:
            async with asyncio.timeout(self._budget_s):
                await self._cache.set(_name(org_id, key), stored, ttl=ttl)
        except (StoreError, TimeoutError):
            self._counts["away"].inc()
        else:
            self._counts["stored"].inc()

    async def _looked_up(self, org_id: UUID, key: bytes) -> tuple[Outcome, bytes | None]:
        try:
            async with asyncio.timeout(self._budget_s):
                stored = await self._cache.get(_name(org_id, key))
        except (StoreError, TimeoutError):
            return "away", None
        if stored is None:
            return "miss", None
        answer = self._opened(org_id, key, stored)
        return ("unreadable" if answer is None else "hit"), answer

    def _opened(self, org_id: UUID, key: bytes, stored: bytes) -> bytes | None:
        form, rest = stored[:1], stored[1:]
        if form == _PLAIN:
            return rest
        return self._seal.open(org_id, key, rest) if form == _SEALED else None


def _name(org_id: UUID, key: bytes) -> str:
    return f"llm:answer:{org_id}:{key.hex()}"
