"""Gauges of auth: the age of the signing key, API keys that end soon, names of organisations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry

from ai_services.auth.store import api_keys, organisations, signing
from shared.data_access.ports import Relational
from shared.telemetry.metrics import Gauge

EXPIRING: Final = timedelta(days=7)
# One that was made for a few days ends as it was meant to.
_MADE_FOR: Final = timedelta(days=30)
_MOST_NAMES: Final = 1000
_EVERY_S: Final = 15.0


class Gauges:
    """Measured every 15 s; a replica of auth tells the same as any other."""

    def __init__(
        self, relational: Relational, clock: Callable[[], datetime], registry: CollectorRegistry
    ) -> None:
        self._relational = relational
        self._clock = clock
        self._signing_age = Gauge(
            "auth_signing_key_age_seconds",
            "Since the key that signs access tokens was made",
            registry=registry,
        )
        self._expiring = Gauge(
            "auth_api_keys_expiring",
            "Living API keys, made for more than 30 days, that end within 7",
            registry=registry,
        )
        self._names = Gauge(
            "organisation_info",
            f"1 for each of the {_MOST_NAMES} oldest organisations, with its short name",
            ("organisation", "slug"),
            registry=registry,
        )

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(_EVERY_S)

    async def once(self) -> None:
        now = self._clock()
        async with self._relational.system() as tx:
            since = await signing.signs_since(tx)
            expiring = await api_keys.expiring(tx, now, EXPIRING, _MADE_FOR)
            named = await organisations.oldest(tx, _MOST_NAMES)
        self._signing_age.set(0 if since is None else (now - since).total_seconds())
        self._expiring.set(expiring)
        self._names.clear()  # of those that are gone
        for row in named:
            self._names.labels(str(row["org_id"]), row["slug"]).set(1)
