"""How limits are written, and what is said about those that are written wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limit import SCOPES, Limit, check_shared, parse_limits
from shared.errors import ConfigError

MONTH_S = 31 * 86_400


def parsed(*texts: str) -> tuple[Limit, ...]:
    return parse_limits(list(texts), "routes.toml: [portrait] GET /x", signed_in=True)


def test_limits_are_read_as_they_are_written() -> None:
    assert parsed("principal 100/s burst 200", "address 20/m") == (
        Limit("principal", "principal", 100, 1, 200),
        Limit("address", "address", 20, 60, 20),
    )
    assert parsed("api: organisation 5000/10s", "route 2/h burst 1 closed") == (
        Limit("api", "organisation", 5000, 10, 5000, shared=True),
        Limit("route", "route", 2, 3600, 1, closed=True),
    )
    assert parsed() == ()


def test_a_policy_says_what_there_is_at_once_and_when_it_is_back() -> None:
    assert [limit.policy for limit in parsed("principal 100/s burst 150", "address 20/m")] == [
        '"principal";q=150;w=2',
        '"address";q=20;w=60',
    ]


@given(
    st.sampled_from(SCOPES),
    st.integers(1, 10_000),
    st.integers(1, 1000),
    st.sampled_from("smhd"),
    st.integers(1, 10_000),
    st.booleans(),
)
def test_whatever_is_written_either_comes_back_or_is_refused_by_name(
    scope: str, rate: int, periods: int, unit: str, burst: int, closed: bool
) -> None:
    text = f"{scope} {rate}/{periods}{unit} burst {burst}" + " closed" * closed
    seconds = periods * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    if seconds > MONTH_S or burst * seconds > rate * MONTH_S:
        with pytest.raises(ConfigError) as caught:
            parsed(text)
        assert text in caught.value.message
        return
    (limit,) = parsed(text)
    assert (limit.scope, limit.rate, limit.burst, limit.closed) == (scope, rate, burst, closed)
    assert limit.interval * rate == pytest.approx(limit.per_seconds)
    assert limit.tolerance == pytest.approx(burst * limit.per_seconds / rate)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("principal 1/s", "must be a list of texts"),
        ([1], "must be a list of texts"),
        (["principal"], "is not a limit"),
        (["principal 1.5/s"], "is not a limit"),
        (["principal 1/w"], "is not a limit"),
        (["principal -1/s"], "is not a limit"),
        (["principal 1/s burst"], "is not a limit"),
        (["Api: principal 1/s"], "is not a limit"),
        (["user 1/s"], "unknown scope 'user'. Known are route, principal, organisation, address"),
        (["address: route 1/s"], "name of a scope"),
        (["principal 0/s"], "the rate must be above 0"),
        (["principal 1/s burst 0"], "the burst must be above 0"),
        (["principal 1/0s"], "the period must be above 0"),
        (["principal 1/32d"], "at most 31 days"),
        (["principal 2000000/s"], "at most 1000000"),
        (["principal 1/d burst 40"], "takes 40 days to come back"),
        (["principal 1/s", "principal 9/h"], "two limits are called 'principal'. Name one"),
    ],
)
def test_a_wrong_limit_is_named_with_its_route_and_the_fix(limits: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_limits(limits, "routes.toml: [portrait] GET /x", signed_in=True)
    assert caught.value.message.startswith("routes.toml: [portrait] GET /x: ")
    assert said in caught.value.message


def test_a_public_route_has_no_callers_to_count() -> None:
    for scope in ("principal", "organisation"):
        with pytest.raises(ConfigError, match=f"a public route has no {scope}"):
            parse_limits([f"{scope} 1/s"], "x", signed_in=False)
    assert parse_limits(["address 1/s", "route 9/s"], "x", signed_in=False)


def test_a_shared_name_stands_for_one_limit() -> None:
    check_shared([*parsed("api: principal 1/s"), *parsed("api: principal 1/s", "route 1/s")])
    check_shared([*parsed("route 1/s"), *parsed("route 2/s")])  # each route's own
    with pytest.raises(ConfigError, match="'api' is written in two ways"):
        check_shared([*parsed("api: principal 1/s"), *parsed("api: principal 2/s")])
