"""An organisation with calls in PostgreSQL, what search and graph hold of it, and its outbox."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from ai_services.enrichment import service
from ai_services.enrichment.counts import OrganisationCounts
from ai_services.enrichment.customers import erasing, merging
from ai_services.enrichment.customers.alias_store import Merge
from ai_services.enrichment.customers.erasing import Order
from ai_services.enrichment.customers.erasure_store import Erasure
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.projections import COLLECTION, PROJECTIONS
from ai_services.enrichment.service import Received, Stores
from ai_services.portrait.counting.count import catch_up
from shared.data_access.access import StoreUrls, UnifiedDataAccess, open_data_access
from shared.data_access.outbox.relay import OutboxRelay
from shared.telemetry.metrics import Metrics
from tests.ai_services.enrichment.test_importing import KEY, organisation

ADMIN = "user:admin"


@dataclass(frozen=True)
class House:
    """One organisation; `follow` lets search, graph and portraits follow what has happened."""

    data: UnifiedDataAccess
    org_id: UUID

    @property
    def db(self) -> Any:
        return self.data.relational

    @property
    def cipher(self) -> PhoneCipher:
        return PhoneCipher(KEY, self.org_id)

    async def send(self, *records: dict[str, Any]) -> Received:
        sent = [json.dumps(record).encode() for record in records]
        counts = OrganisationCounts(Metrics("enrichment", 50))
        stores = Stores(self.db, self.data.search, KEY, counts)
        return await service.add_calls(stores, self.org_id, sent)

    async def merge(self, customer_id: str, into: str) -> Merge:
        digests = self.cipher.digests
        return await merging.merge(
            self.db, digests, self.org_id, customer_id, into, actor="user:ann"
        )

    async def split(self, merge: Merge) -> Merge:
        return await merging.split(
            self.db, self.org_id, merge.customer_id, merge.merge_id, actor="user:bob"
        )

    def order(self, *, keep_out: bool = True) -> Order:
        return Order(self.cipher.digests, ADMIN, keep_out)

    async def erase(self, customer_id: str, **options: Any) -> Erasure:
        order = self.order(**options)
        return await erasing.erase_customer(self.db, self.org_id, customer_id, order)

    async def erase_call(self, callid: str, **options: Any) -> Erasure:
        return await erasing.erase_call(self.db, self.org_id, callid, self.order(**options))

    async def rows(self, query: str, *args: Any) -> list[dict[str, Any]]:
        async with self.db.tenant(self.org_id) as tx:
            return [dict(row) for row in await tx.fetch(query, *args)]

    async def customers(self) -> dict[str, str | None]:
        """callid → whose call it is."""
        found = await self.rows("SELECT callid, customer_id FROM call_record_enriched")
        return {row["callid"]: row["customer_id"] for row in found}

    async def given(self) -> dict[str, str | None]:
        """callid → whose call its source says that it is."""
        found = await self.rows(
            "SELECT callid, coalesce(given_customer_id, customer_id) AS id FROM call_record_enriched"
        )
        return {row["callid"]: row["id"] for row in found}

    async def follow(self) -> None:
        relay = OutboxRelay(self.db, [make(self.data) for make in PROJECTIONS.values()])
        for name in PROJECTIONS:
            await relay.drain(name)
        await self.data.search.refresh()
        await catch_up(lambda: self.db.tenant(self.org_id), self.org_id)

    async def found(self, query: str, **filters: str) -> set[str]:
        """The callids whose transcripts are found."""
        page = await self.data.search.search(
            self.org_id, COLLECTION, query, filters=filters, limit=100, cursor=None
        )
        return {hit.id for hit in page.hits}

    async def edges(self) -> dict[tuple[str, str], int]:
        """(account, customer) → calls, of the accounts that there are."""
        accounts = {
            row["user_id"] for row in await self.rows("SELECT user_id FROM call_record_enriched")
        }
        found = {}
        for account in accounts | {"account-1", "account-2"}:
            for edge, node in await self.data.graph.neighbours(self.org_id, "Account", account):
                found[account, node.id] = edge.properties["calls"]
        return found  # type: ignore[return-value]

    async def audited(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM audit_log ORDER BY seq")

    async def everything(self) -> str:
        """All that any table of the organisation holds, as text, but for what reads as bytes."""
        tables = await self.rows(
            """SELECT table_name AS name FROM information_schema.columns
               WHERE table_schema = current_schema() AND column_name = 'org_id'"""
        )
        found = []
        async with self.db.system() as tx:
            for table in sorted(row["name"] for row in tables):
                rows = await tx.fetch(
                    f'SELECT t::text AS row FROM "{table}" t WHERE org_id = $1', self.org_id
                )
                found += [f"{table}: {row['row']}" for row in rows]
        return "\n".join(found)


@pytest.fixture
async def house(database_url: str, graph_url: str, redis_url: str) -> AsyncIterator[House]:
    urls = StoreUrls(database_url, graph_url, None, None, redis_url)
    async with open_data_access(urls, ports={"relational", "search", "graph"}) as data:
        yield House(data, await organisation(data.relational))  # type: ignore[arg-type]


@pytest.fixture
async def other(house: House) -> House:
    """Another organisation on the same stores."""
    return House(house.data, await organisation(house.db))
