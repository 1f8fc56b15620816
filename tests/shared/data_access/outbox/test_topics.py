"""Who hears of what: each service's entry says it, and nobody else's has to."""

from __future__ import annotations

from uuid import uuid4

import pytest

from shared.data_access.outbox.topics import TOPICS, listeners
from shared.data_access.relational.postgres import Postgres
from shared.services import Projection, Service


def test_the_projections_of_all_services_hear_of_the_topics_that_they_name() -> None:
    services = (
        Service("teller", 1, "teller", topics=("told", "unheard")),
        Service("near", 2, "near", projections=(Projection("one", ("told",)),)),
        Service(
            "far", 3, "far", topics=("other",),
            projections=(Projection("two", ("other", "told")), Projection("three", ("other",))),
        ),
    )  # fmt: skip
    assert listeners(services) == {
        "told": ("one", "two"), "unheard": (), "other": ("two", "three"),
    }  # fmt: skip


def test_calls_go_to_search_and_graph_and_portraits_to_the_vectors() -> None:
    assert set(TOPICS["calls"]) >= {"search", "graph"}
    assert "vectors" in TOPICS["portraits"]


async def test_a_topic_that_no_service_tells_is_refused(database_url: str) -> None:
    db, org = Postgres(database_url), uuid4()
    try:
        with pytest.raises(ValueError, match=r"unknown topic 'gossip'.*shared/services\.py"):
            async with db.tenant(org) as tx:
                await tx.emit(org, "gossip", "k", {})
    finally:
        await db.close()
