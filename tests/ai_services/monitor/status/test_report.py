from dataclasses import replace
from decimal import Decimal

from ai_services.monitor.status.report import Report, ServiceReport, StoreReport
from shared.data_access.outbox.relay import Depth
from shared.jobs.store.jobs import Totals
from tests.ai_services.monitor.status.reports import BUDGET, ONE, well

AWAY = replace(ONE, ready=False, wrong=("does not answer",))


def judged(report: Report) -> tuple[str, list[str]]:
    return report.health, report.reasons


def test_a_platform_that_misses_nothing_is_up() -> None:
    assert judged(well()) == ("up", [])


def test_a_replica_that_is_not_ready_degrades_its_service_and_the_platform() -> None:
    service = ServiceReport("llm", (ONE, AWAY))
    assert service.health == "degraded"
    found = well(services=[ServiceReport("auth", (ONE,)), service])
    assert judged(found) == ("degraded", ["llm at 10.0.0.7:8211 is not ready: does not answer"])


def test_a_service_that_nobody_announces_is_down() -> None:
    found = well(services=[ServiceReport("auth", (ONE,)), ServiceReport("llm", ())])
    assert judged(found) == ("degraded", ["llm is down: no instance of it is announced"])


def test_what_misses_a_store_it_can_do_without_is_ready() -> None:
    ready = replace(ONE, wrong=("search: does not answer",))
    assert well(services=[ServiceReport("enrichment", (ready,))]).health == "up"


def test_without_postgresql_or_any_other_service_the_platform_is_down() -> None:
    away = StoreReport("postgres", 1500.0, "no answer within 1.5 s")
    assert judged(well(stores=[away])) == ("down", ["postgres is down: no answer within 1.5 s"])
    alone = [ServiceReport("auth", (AWAY,)), ServiceReport("monitor", (ONE,))]
    assert well(services=alone).health == "down"
    assert well(services=None, unknown={"services": "away"}).health == "degraded"


def test_another_store_that_is_away_degrades() -> None:
    found = well(stores=[StoreReport("postgres", 1.0), StoreReport("graph", 9.0, "away")])
    assert judged(found) == ("degraded", ["graph is down: away"])


def test_what_was_given_up_is_told() -> None:
    dead = Totals(waiting=0, queued=0, running=0, dead=2, oldest_s=None)
    found = well(projections={"graph": Depth(dead=7), "search": Depth(waiting=9)}, jobs=dead)
    assert found.health == "degraded"
    assert found.reasons == [
        "graph has dead letters: 7 of its events were given up",
        "jobs that died within 24 hours and weren't retried: 2",
    ]


def test_what_could_not_be_found_out_is_told() -> None:
    found = well(jobs=None, unknown={"next_runs": "The database is away."})
    assert judged(found) == ("degraded", ["next runs unknown: The database is away."])


def test_a_budget_of_nothing_is_used_up() -> None:
    assert BUDGET.used == 0.25
    assert replace(BUDGET, amount=Decimal(0), spent=Decimal(0), reserved=Decimal(0)).used == 1
