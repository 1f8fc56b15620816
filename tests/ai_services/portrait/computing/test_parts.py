"""Parts that are computed by processes of their own come to the same, here and on a Ray cluster."""

from __future__ import annotations

from typing import Any

import pytest

from ai_services.portrait.computing.computation import EVERYTHING, compute
from ai_services.portrait.computing.parts import compute_in_parts
from tests.ai_services.portrait.calls import Call, Organisation, assert_law, at

CALLS = [
    Call(
        f"c{number}", f"u{number % 7}", at(f"2024-{number % 12 + 1:02}-{number % 28 + 1:02} 09:30"),
        "connected" if number % 3 else "busy", 1000 * number if number % 3 else 0,
        customer_id=f"k{number % 11}", task_id=f"t{number % 2}",
    )
    for number in range(200)
]  # fmt: skip
_DAYS = "SELECT * FROM portrait_hour ORDER BY dimension, subject, call_date, hour"


async def days(organisation: Organisation) -> list[dict[str, Any]]:
    async with organisation.db.tenant(organisation.org_id) as tx:
        return [dict(row) for row in await tx.fetch(_DAYS)]


async def both_ways(
    organisation: Organisation, url: str, *, at_once: int, ray_address: str | None = None
) -> None:
    await organisation.write(*CALLS)
    heard: list[tuple[int, int]] = []
    computed = await compute_in_parts(
        organisation.db, url, organisation.org_id, EVERYTHING,
        lambda done, total: heard.append((done, total)), at_once=at_once, ray_address=ray_address,
    )  # fmt: skip
    assert heard[-1] == (52 + 12 + 4, 52 + 12 + 4)
    assert [(one.period_type, one.first, one.last) for one in computed] == [
        ("week", "2024-W01", "2024-W52"), ("month", "2024-01", "2024-12"), ("quarter", "2024-Q1", "2024-Q4"),
    ]  # fmt: skip
    await assert_law(organisation, CALLS)
    in_parts = await days(organisation)
    again = await compute(organisation.db, organisation.org_id)
    assert [(one.changed, one.removed) for one in again] == [(0, 0)] * 3
    assert in_parts == await days(organisation) != []


@pytest.mark.slow
async def test_four_processes_compute_what_one_does(
    unlogged: Organisation, portrait_database_url: str
) -> None:
    await both_ways(unlogged, portrait_database_url, at_once=4)


@pytest.mark.slow
async def test_a_ray_cluster_computes_what_one_process_does(
    unlogged: Organisation, portrait_database_url: str
) -> None:
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'looma-ai[ray]'")
    await both_ways(unlogged, portrait_database_url, at_once=4, ray_address="local")
