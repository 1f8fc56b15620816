"""What the service measures of the systems that stay connected."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from ai_services.enrichment.sources import store
from ai_services.enrichment.sources.settings import SourceSettings
from shared.data_access.ports import Relational
from shared.errors import StoreUnavailable
from shared.telemetry.metrics import Counter, Gauge

_EVERY_S: Final = 60.0
_log = structlog.get_logger("looma.sources")


class SourceMetrics:
    """Sources are labels by their names in the sources file: whoever writes that bounds them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows = Counter(
            "source_rows_total",
            "Rows read of a source's tables or sent by it, by what became of them",
            ("source", "outcome"),
            registry=registry,
        )
        self._errors = Counter(
            "source_errors_total",
            "Times that a source or one of its tables could not be read, or a message was refused",
            ("source", "reason"),
            registry=registry,
        )
        self._synced = Gauge(
            "source_synced_timestamp_seconds",
            "When a source was last read to its end; before that, when it was first seen",
            ("source",),
            registry=registry,
        )

    def rows(self, source: str, outcomes: Mapping[str, int]) -> None:
        for outcome, rows in outcomes.items():
            self._rows.labels(source, outcome).inc(rows)

    def failed(self, source: str, reason: str) -> None:
        self._errors.labels(source, reason).inc()

    async def watch(self, relational: Relational, connected: Mapping[str, SourceSettings]) -> None:
        """Say of each source that is read when that was last; until cancelled."""
        while connected:
            try:
                await self.look(relational, connected)
            except StoreUnavailable as error:
                _log.warning("sources_unwatched", reason=error.message)
            await asyncio.sleep(_EVERY_S)

    async def look(self, relational: Relational, connected: Mapping[str, SourceSettings]) -> None:
        pulled = [one for one in connected.values() if one.kind != "push"]
        async with relational.system() as tx:
            for one in pulled:
                org_id = await store.organisation_id(tx, one.organisation)
                if org_id is not None:
                    await store.begin_sync(tx, org_id, one.name)
            known = {(row["slug"], row["source"]): row["at"] for row in await store.last_syncs(tx)}
        for one in pulled:
            if (at := known.get((one.organisation, one.name))) is not None:
                self._synced.labels(one.name).set(at.timestamp())
