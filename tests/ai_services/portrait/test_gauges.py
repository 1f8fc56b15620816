"""How many portraits are kept of each organisation, as Prometheus reads it."""

from __future__ import annotations

from ai_services.portrait.computing.computation import compute
from ai_services.portrait.gauges import Gauges
from shared.telemetry.metrics import Metrics
from tests.ai_services.portrait.calls import Call, at, new_organisation, opened


async def test_organisations_with_most_have_their_own_and_the_others_one(database_url: str) -> None:
    metrics = Metrics("portrait", 2)
    kept = []
    async with opened(database_url) as db:
        gauges = Gauges(db, metrics, 2)
        for users in (1, 3, 2, 1):
            organisation = await new_organisation(db)
            calls = [Call(f"c{n}", f"u{n}", at("2024-05-06 10:00")) for n in range(users)]
            await organisation.write(*calls)
            await compute(db, organisation.org_id)
            kept.append(str(organisation.org_id))
        await gauges.once()

    def told(organisation: str) -> float | None:
        return metrics.registry.get_sample_value(
            "organisation_portraits", {"organisation": organisation}
        )

    assert [told(one) for one in kept] == [None, 9, 6, None]  # a week, a month, a quarter each
    assert told("other") == 6
