"""Ages of keys, keys that end soon, and the names of organisations, as Prometheus reads them."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import CollectorRegistry

from ai_services.auth.gauges import Gauges
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.auth.harness import serve


async def test_gauges_tell_what_there_is(config, database_url, cache) -> None:
    postgres = Postgres(database_url)
    registry = CollectorRegistry()
    async with serve(config, postgres, cache) as served:
        gauges = Gauges(postgres, served.clock, registry)
        await served.auth.signer.ensure()
        await gauges.once()
        assert registry.get_sample_value("auth_signing_key_age_seconds") < 60
        team = await served.organisation()
        labels = {"organisation": str(team.org_id), "slug": team.slug}
        now = served.clock()
        for name, days in (("long", 40), ("short", 5), ("year", 365)):
            await served.auth.api_keys.create(
                team.admin, name=name, role="analyst", expires_at=now + timedelta(days=days)
            )
        await gauges.once()
        assert registry.get_sample_value("organisation_info", labels) == 1
        assert registry.get_sample_value("auth_api_keys_expiring") == 0

        served.clock.advance(timedelta(days=35).total_seconds())
        await gauges.once()
        assert registry.get_sample_value("auth_api_keys_expiring") == 1
        assert registry.get_sample_value("auth_signing_key_age_seconds") >= 35 * 86_400
        # Expired ones are over, not expiring; a new key is young.
        served.clock.advance(timedelta(days=10).total_seconds())
        await served.auth.signer.rotate()
        await gauges.once()
        assert registry.get_sample_value("auth_api_keys_expiring") == 0
        assert registry.get_sample_value("auth_signing_key_age_seconds") < 60
    await postgres.close()
