"""Computing portraits, with a bar for each type of period."""

from __future__ import annotations

from uuid import UUID

from ai_services.portrait.computing.computation import Computed, compute
from ai_services.portrait.computing.parts import compute_in_parts
from ai_services.portrait.computing.request import Requested
from looma_cli.terminal.console import bar
from shared.config import Config
from shared.data_access.ports import Relational
from shared.store_urls import store_urls


async def compute_all(relational: Relational, org_id: UUID, wanted: Requested) -> list[Computed]:
    """Compute type by type, a bar for each."""
    computed: list[Computed] = []
    for period_type in wanted.period_types:
        with bar(f"Computing {period_type}s", None, f"{period_type}s") as progress:
            computed += await compute(
                relational,
                org_id,
                [period_type],
                wanted.first,
                wanted.last,
                lambda _type, done, total, shown=progress: shown.to(done, total),  # type: ignore[misc] # bound now: the bar changes with the loop
            )
    return computed


async def compute_sharded(
    relational: Relational, config: Config, org_id: UUID, wanted: Requested, shards: int
) -> list[Computed]:
    """All types together, in `shards` processes of this machine or of a Ray cluster."""
    url = store_urls(config).database
    with bar("Computing", None, "periods") as progress:
        return await compute_in_parts(
            relational, url, org_id, wanted, progress.to, at_once=shards,
            ray_address=config.ray_address,
        )  # fmt: skip
