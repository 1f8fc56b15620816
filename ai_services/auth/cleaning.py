"""Removing what is past its time: refresh tokens, revocations, throttle entries, signing keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ai_services.auth.sign_in.limit import SignInLimit
from ai_services.auth.store import expired
from ai_services.auth.tokens.signing import TokenTerms
from shared.data_access.ports import Relational, Transaction
from shared.telemetry.spans import work


@dataclass(frozen=True, slots=True)
class Cleaning:
    """`batch` rows per transaction; at most `max_throttled` throttle entries are kept."""

    relational: Relational
    terms: TokenTerms
    limit: SignInLimit
    clock: Callable[[], datetime]
    batch: int = 1000
    max_throttled: int = 100_000
    every_s: float = 600.0

    async def run(self) -> None:
        """Clean now and then until cancelled."""
        while True:
            with work("cleaning", {}):
                await self.once()
            await asyncio.sleep(self.every_s)

    async def once(self) -> int:
        """Remove everything that is due; the number of rows."""
        now = self.clock()
        forgotten = now - timedelta(seconds=self.limit.forget_s)
        retired = now - self.terms.outlived
        removed = 0
        for delete in (
            lambda tx: expired.refresh_tokens(tx, now, self.batch),
            lambda tx: expired.revocations(tx, now, self.batch),
            lambda tx: expired.throttles(tx, forgotten, self.batch),
            lambda tx: expired.throttles_beyond(tx, self.max_throttled, self.batch),
            lambda tx: expired.signing_keys(tx, retired, self.batch),
        ):
            removed += await self._all(delete)
        return removed

    async def _all(self, delete: Callable[[Transaction], Awaitable[int]]) -> int:
        removed = 0
        while True:
            async with self.relational.system() as tx:
                count = await delete(tx)
            removed += count
            if count < self.batch:
                return removed
