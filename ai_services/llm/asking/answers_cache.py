"""Answers of models that are kept for a time, for requests that are the same.

A key is the SHA-256 over all that an answer depends on, made by the caller, and names an answer
within one organisation only. Redis holds answers as they are, or encrypted with AES-GCM by a key of
the organisation's own, bound to the organisation and the key they are stored under. While Redis is
away every request is a miss.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final, Literal, get_args
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from prometheus_client import CollectorRegistry

from shared.data_access.ports import Cache
from shared.errors import StoreError
from shared.telemetry.metrics import Counter

LARGEST: Final = 256 * 1024  # bytes of an answer that is kept
BUDGET_S: Final = 0.25  # a model is asked rather than a slow cache waited for
_PLAIN: Final = b"\x00"  # the first byte of what is stored tells how the rest is to be read
_SEALED: Final = b"\x01"
_NONCE: Final = 12  # bytes
_KEY: Final = 32

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
        self._data_key = data_key
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
        stored = self._sealed(org_id, key, answer) if encrypted else _PLAIN + answer
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

    def _sealed(self, org_id: UUID, key: bytes, answer: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return _SEALED + nonce + self._cipher(org_id).encrypt(nonce, answer, _bound(org_id, key))

    def _opened(self, org_id: UUID, key: bytes, stored: bytes) -> bytes | None:
        form, rest = stored[:1], stored[1:]
        if form == _PLAIN:
            return rest
        nonce, sealed = rest[:_NONCE], rest[_NONCE:]
        if form != _SEALED or len(nonce) < _NONCE:
            return None
        try:
            return self._cipher(org_id).decrypt(nonce, sealed, _bound(org_id, key))
        except InvalidTag:
            return None  # counted as unreadable

    def _cipher(self, org_id: UUID) -> AESGCM:
        # Keys of their own, derived: the data key protects other things, and other organisations.
        info = b"looma llm answers\0" + org_id.bytes
        return AESGCM(HKDF(SHA256(), _KEY, salt=None, info=info).derive(self._data_key))


def _name(org_id: UUID, key: bytes) -> str:
    return f"llm:answer:{org_id}:{key.hex()}"


def _bound(org_id: UUID, key: bytes) -> bytes:
    """What an entry is authenticated with: it opens under its own name only."""
    return org_id.bytes + key
