"""What operators see of a service that several workers ask."""

from __future__ import annotations

from typing import Any

from gateway.own_api.admin import together


def pool(service: str = "portrait", **changes: Any) -> dict[str, Any]:
    snapshot = {
        "service": service, "balance": "least_request", "versions": {}, "panicking": False,
        "in_flight": 2, "limit": 10, "streams": 1, "streams_limit": 9, "shed": {"batch": 1}, "retried": 3, "hedged": 4,
        "ejections": 5, "instances": [instance()],
    }  # fmt: skip
    return {**snapshot, **changes}


def instance(name: str = "a", **changes: Any) -> dict[str, Any]:
    circuit = {
        "state": "closed", "requests": 2, "failures": 1, "consecutive": 1, "opened": 0,
        "retry_in_s": 0.0,
    }  # fmt: skip
    seen = {
        "id": name, "url": f"http://{name}", "version": "1", "weight": 1.0, "in_flight": 1,
        "latency_ms": 5.0, "routed": True, "healthy": True, "ejected_for_s": 0.0,
        "circuit": circuit,
    }  # fmt: skip
    circuit.update(changes.pop("circuit", {}))
    return {**seen, **changes}


def test_one_worker_is_shown_as_it_is() -> None:
    assert together([[pool(), pool("auth")]]) == [pool("auth"), pool()]


def test_loads_and_counts_are_added_up() -> None:
    (one,) = together([[pool()], [pool(in_flight=5, shed={"batch": 2}, panicking=True)], [pool()]])
    assert (one["in_flight"], one["limit"], one["shed"]) == (9, 30, {"batch": 4})
    assert (one["streams"], one["streams_limit"]) == (3, 27)
    assert (one["retried"], one["hedged"], one["ejections"]) == (9, 12, 15)
    assert one["panicking"]
    (seen,) = one["instances"]
    assert (seen["in_flight"], seen["circuit"]["requests"]) == (3, 6)


def test_of_views_that_differ_the_worse_is_shown() -> None:
    opened = {"state": "open", "opened": 2, "retry_in_s": 20.0}
    worse = instance(healthy=False, ejected_for_s=9.0, latency_ms=9.0, circuit=opened)
    halfway = instance(circuit={"state": "half_open"}, healthy=None, routed=False)
    (one,) = together([[pool(instances=[view])] for view in (instance(), worse, halfway)])
    (seen,) = one["instances"]
    assert (seen["healthy"], seen["ejected_for_s"], seen["latency_ms"]) == (False, 9.0, 9.0)
    assert seen["routed"]
    assert seen["circuit"] == {**opened, "requests": 6, "failures": 3, "consecutive": 1}


def test_an_instance_that_only_one_worker_knows_is_shown() -> None:
    (one,) = together([[pool()], [pool(instances=[instance(), instance("b")])]])
    assert [seen["id"] for seen in one["instances"]] == ["a", "b"]
