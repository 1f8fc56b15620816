"""Comparing connected systems with what came in, with a bar of the days."""

from __future__ import annotations

from datetime import date

from prometheus_client import CollectorRegistry

from ai_services.enrichment import store
from ai_services.enrichment.sources.compared import Compared
from ai_services.enrichment.sources.connected import Connected
from ai_services.enrichment.sources.metrics import SourceMetrics
from ai_services.enrichment.sources.sources_file import read_sources
from ai_services.enrichment.sources.verify import Verification
from looma_cli.stores.organisation import opened_for
from looma_cli.terminal.console import bar
from shared.config import Config
from shared.errors import ConfigError, NotFound
from shared.secrets import data_key


async def verify_sources(
    config: Config,
    org: str | None,
    name: str | None,
    days: tuple[date | None, date | None],
    *,
    repair: bool,
) -> list[Compared]:
    """Every table and day that has calls, of one source or of all that are read."""
    if config.sources is None:
        raise ConfigError(
            "SOURCES: it names no file, and without one there is nothing to compare with. Set it, and "
            "the SOURCE_SECRET_… that it names, as the enrichment service has them."
        )
    known = read_sources(config.sources, config.source_secrets)
    connected = Connected(SourceMetrics(CollectorRegistry()), known)
    found: list[Compared] = []
    async with opened_for(config, org) as (relational, org_id):
        async with relational.tenant(org_id, readonly=True) as tx:
            slug = await store.organisation_slug(tx, org_id)
        if slug is None:
            raise NotFound("There is no such organisation.")
        wanted = connected.read_for(slug) if name is None else [connected.source_of(slug, name)]
        for settings in wanted:
            verification = await Verification.of(
                relational, data_key(config), org_id, settings,
                repair=repair, country=config.default_country,
            )  # fmt: skip
            with bar(f"Comparing {settings.name}", None, "calls") as progress:
                async for one in verification.days(*days):
                    found.append(one)
                    progress.advance(one.theirs)
    return found
