"""What an organisation has, as its services count it."""

from __future__ import annotations

from dataclasses import replace

from ai_services.portrait.computing.computation import compute
from looma_cli.stores.holdings import Holdings, holdings, portraits_outdated
from tests.ai_services.portrait.calls import Call, Organisation, at, new_organisation, opened

CALLS = (
    Call("c1", "u1", at("2024-05-06 10:00")),
    Call("c2", "u2", at("2024-06-07 10:00")),
    Call("c3", "u2", at("2024-05-05 10:00"), "busy"),
)
NOTHING = Holdings(0, 0, 0, 0, 0, 0, None, None)


async def seen(organisation: Organisation) -> tuple[Holdings, bool]:
    async with organisation.db.tenant(organisation.org_id, readonly=True) as tx:
        return await holdings(tx, organisation.org_id), await portraits_outdated(
            tx, organisation.org_id
        )


async def test_calls_and_portraits_are_counted_and_known_to_be_outdated(database_url: str) -> None:
    async with opened(database_url) as db:
        one, other = await new_organisation(db), await new_organisation(db)
        assert await seen(one) == (NOTHING, True)
        await one.write(*CALLS)
        brought_in = replace(NOTHING, calls=3, users=2, first="2024-05-05", last="2024-06-07")
        assert await seen(one) == (brought_in, True)

        await compute(db, one.org_id)
        found, outdated = await seen(one)
        assert not outdated
        assert replace(found, periods=0) == replace(brought_in, portraits=3 + 3 + 2)
        assert found.periods >= 3 + 2 + 1  # weeks, months, quarters
        async with db.tenant(one.org_id) as tx:
            await tx.execute(
                "UPDATE call_record_enriched SET updated_at = now() WHERE callid = 'c1'"
            )
        assert (await seen(one))[1]
        assert await seen(other) == (NOTHING, True)
