"""What an organisation wants to know of its calls: its topics and its script."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from ai_services.enrichment.analysis.chain import store
from ai_services.enrichment.analysis.chain.script import Script
from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class Wanted:
    topics: tuple[str, ...] = ()
    script: Script = field(default_factory=Script)


async def wanted_by(tx: Transaction, org_id: UUID) -> Wanted:
    row = await store.read_settings(tx, org_id)
    if row is None:
        return Wanted()
    script = Script(tuple(row["must_say"]), tuple(row["must_not_say"]))
    return Wanted(tuple(row["topics"]), script)
