"""The tables `[services.NAME]`: what they may say, and what is said about one that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.resilience.breaker import BreakerPolicy
from gateway.resilience.health_check import HealthPolicy
from gateway.upstream.policy import ServicePolicy, parse_policy
from shared.errors import ConfigError

LABEL = "routes.toml: [services.portrait]"


def parsed(item: object, base: ServicePolicy | None = None) -> ServicePolicy:
    return parse_policy(item, base or ServicePolicy(), LABEL)


def test_a_table_changes_what_it_names_and_nothing_else() -> None:
    base = ServicePolicy(breaker=BreakerPolicy(consecutive=9, open_s=7.0))
    read = parsed({"balance": "hash", "breaker": {"consecutive": 3, "window_s": 5}}, base)
    assert (read.balance, read.health) == ("hash", base.health)
    assert (read.breaker.consecutive, read.breaker.open_s, read.breaker.window_s) == (3, 7.0, 5.0)
    assert parsed({}, base) == base


def test_what_may_be_off_is_written_as_false() -> None:
    off = parsed({"health": False, "outliers": {"errors": False}, "shedding": {"most": False}})
    assert (off.health, off.outliers.errors, off.shedding.most) == (None, None, None)
    assert parsed({"health": {}}, off).health == HealthPolicy()
    assert parsed({"shedding": {"most": 9}}).shedding.most == 9
    assert parsed({"slow_start": {"window_s": 0}}).slow_start.window_s == 0


def test_statuses_and_versions_are_read() -> None:
    read = parsed({"retry": {"statuses": [502, 503]}, "versions": {"1": 95, "2": 5}})
    assert read.retry.statuses == {502, 503}
    assert read.versions == {"1": 95.0, "2": 5.0}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (5, " must be a table."),
        ({"breakers": {}}, ": unknown 'breakers'. Known are balance, breaker,"),
        ({"breaker": {"open": 1}}, ": breaker: unknown 'open'. Known are closing, consecutive,"),
        ({"breaker": 5}, ": breaker must be a table with fields of closing,"),
        ({"breaker": False}, ": breaker must be a table with fields of closing,"),
        ({"breaker": {"consecutive": 1.5}}, ": breaker.consecutive must be a whole number"),
        ({"breaker": {"consecutive": True}}, ": breaker.consecutive must be a whole number"),
        ({"breaker": {"open_s": -1}}, ": breaker.open_s must be a number of 0 or more (it is -1)."),
        ({"breaker": {"open_s": "2"}}, ": breaker.open_s must be a number of 0 or more"),
        ({"breaker": {"open_s": float("nan")}}, ": breaker.open_s must be a number of 0 or more"),
        ({"breaker": {"window_s": 0}}, ": breaker.window_s must be a number above 0 (it is 0)."),
        ({"budget": {"window_s": 0.0}}, ": budget.window_s must be a number above 0"),
        ({"slow_start": {"aggression": 0}}, ": slow_start.aggression must be a number above 0"),
        ({"health": {"interval_s": 0}}, ": health.interval_s must be a number above 0"),
        ({"health": {"urgent_s": 0}}, ": health.urgent_s must be a number above 0"),
        ({"health": {"concurrency": 0}}, ": health.concurrency must be a whole number above 0"),
        ({"shedding": {"caller_share": float("inf")}}, ": shedding.caller_share must be a number"),
        ({"breaker": {"open_s": float("inf")}}, ": breaker.open_s must be a number of 0 or more"),
        ({"outliers": {"errors": True}}, ": outliers.errors must be a whole number"),
        ({"retry": {"statuses": [200]}}, ": retry.statuses must be a list of statuses such as"),
        ({"retry": {"statuses": 502}}, ": retry.statuses must be a list of statuses such as"),
        ({"retry": {"unconnected": 1}}, ": retry.unconnected must be true or false (it is 1)."),
        ({"health": {"rise": "3"}}, ": health.rise must be a whole number"),
        ({"balance": "random"}, ": balance must be one of least_request, ewma, hash, weighted"),
        ({"versions": {}}, ": versions must be shares by version"),
        ({"versions": {"1": 0}}, ": versions must be shares by version"),
        ({"versions": {"1": -1, "2": 1}}, ": versions.1 must be shares by version"),
        ({"health_path": "ready"}, ': health_path must be a path such as "/ready" (it is'),
    ],
)
def test_a_wrong_value_is_named_with_its_field_and_the_fix(item: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(item)
    assert caught.value.message.startswith(LABEL + said)
