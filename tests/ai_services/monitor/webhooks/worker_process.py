"""Sends what is due in a process of its own, for tests that kill it: …worker_process URL."""

from __future__ import annotations

import asyncio
import sys

from prometheus_client import CollectorRegistry

from ai_services.monitor.webhooks.delivery.resolving import opened_resolver
from ai_services.monitor.webhooks.delivery.sending import Sender
from ai_services.monitor.webhooks.delivery.worker import Deliveries
from ai_services.monitor.webhooks.metrics import WebhookMetrics
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.monitor.webhooks.conftest import LOOPBACK, QUICK, SEAL


async def main(url: str) -> None:
    metrics = WebhookMetrics(CollectorRegistry())
    async with opened_resolver(LOOPBACK) as resolver:
        await Deliveries(Postgres(url, pool_size=4), Sender(resolver), SEAL, metrics, QUICK).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
