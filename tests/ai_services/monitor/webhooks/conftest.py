"""Webhooks on a real database: an organisation's own, and who sends what is due."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from ai_services.monitor.webhooks.delivery.resolving import Resolver, opened_resolver
from ai_services.monitor.webhooks.delivery.sending import Sender
from ai_services.monitor.webhooks.delivery.signing import Seal
from ai_services.monitor.webhooks.delivery.worker import Deliveries, Pace
from ai_services.monitor.webhooks.events import EVENT_TYPES, message
from ai_services.monitor.webhooks.metrics import WebhookMetrics
from ai_services.monitor.webhooks.service import Secret, Webhooks
from ai_services.monitor.webhooks.store import deliveries
from ai_services.monitor.webhooks.store.deliveries import Delivery, Queued
from shared.cursor import EPOCH
from shared.data_access.relational.postgres import Postgres
from tests.databases import SpareDatabases
from tests.shared.jobs.workplace import Workplace, until

LOOPBACK = (ip_network("127.0.0.0/8"),)
SEAL = Seal(b"d" * 32)
QUICK = Pace(poll_s=0.02, lease_s=5.0, pauses=(0.02, 0.02))


@dataclass
class Desk:
    """`shift` moves the clock of the deliveries: what was to come in so many seconds is due."""

    place: Workplace
    webhooks: Webhooks
    resolver: Resolver
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.metrics = WebhookMetrics(self.registry)

    async def make(self, org_id: UUID, url: str, *event_types: Any) -> Secret:
        return await self.webhooks.create(
            org_id, url=url, event_types=event_types or EVENT_TYPES, description="", active=True
        )

    async def queue(self, org_id: UUID, source: str | None = None, **data: Any) -> Queued:
        """An event of the organisation, committed."""
        sent = message("job.failed", source or str(uuid4()), EPOCH, data)
        async with self.place.db.tenant(org_id) as tx:
            return await deliveries.queue(tx, org_id, [sent])

    async def delivery(self, org_id: UUID, delivery_id: UUID) -> Delivery:
        async with self.place.db.tenant(org_id) as tx:
            found = await deliveries.get_delivery(tx, org_id, delivery_id)
        assert found is not None
        return found

    async def until_state(self, org_id: UUID, delivery_id: UUID, *states: str) -> Delivery:
        async def there() -> bool:
            return (await self.delivery(org_id, delivery_id)).state in states

        await until(there)
        return await self.delivery(org_id, delivery_id)

    async def until_attempts(self, org_id: UUID, delivery_id: UUID, attempts: int) -> Delivery:
        """Until so many have ended."""

        async def there() -> bool:
            found = await self.delivery(org_id, delivery_id)
            return found.attempts == attempts and found.state != "sending"

        await until(there)
        return await self.delivery(org_id, delivery_id)

    async def shift(self, seconds: float) -> None:
        async with self.place.db.system() as tx:
            await tx.execute(
                "UPDATE webhook_delivery SET due_at = due_at - make_interval(secs => $1)", seconds
            )

    def worker(self, pace: Pace = QUICK, **options: Any) -> Deliveries:
        sender = options.pop("sender", None) or Sender(self.resolver)
        seal = options.pop("seal", SEAL)
        return Deliveries(self.place.db, sender, seal, self.metrics, pace, **options)

    @asynccontextmanager
    async def sending(self, pace: Pace = QUICK, **options: Any) -> AsyncIterator[Deliveries]:
        worker = self.worker(pace, **options)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            task.cancel()
            await asyncio.wait([task])

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture(scope="package")
async def desk_database_url(spare_databases: SpareDatabases) -> AsyncIterator[str]:
    """Without a service: it would send what a test's own workers are to send."""
    async with spare_databases.fresh() as url:
        await Workplace.prepare(url)
        yield url


@pytest.fixture
async def place(desk_database_url: str) -> AsyncIterator[Workplace]:
    place = Workplace(Postgres(desk_database_url, pool_size=12), desk_database_url)
    await place.empty()
    yield place
    await place.db.close()


@pytest.fixture
async def desk(place: Workplace) -> AsyncIterator[Desk]:
    async with opened_resolver(LOOPBACK) as resolver:
        yield Desk(place, Webhooks(place.db, resolver, SEAL), resolver)


@pytest.fixture
async def org(place: Workplace) -> UUID:
    return await place.organisation()
