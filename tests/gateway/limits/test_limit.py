"""How limits are written, and what is said about those that are written wrong."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.limits.limit import SCOPES, Limit, check_shared, parse_limits
from gateway.routing.route_file import RouteFile, parse_route_file
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
def test_a_wrong_limit_is_named_with_its_route_and_the_fix(limits: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_limits(limits, "routes.toml: [portrait] GET /x", signed_in=True)
    assert caught.value.message.startswith("routes.toml: [portrait] GET /x: ")
    assert said in caught.value.message


def test_a_public_route_has_no_callers_to_count() -> None:
    for scope in ("principal", "organisation"):
        with pytest.raises(ConfigError, match=f"a public route has no {scope}"):
            parse_limits([f"{scope} 1/s"], "x", signed_in=False)
    assert parse_limits(["address 1/s", "route 9/s"], "x", signed_in=False)


def placed(place: str, *texts: str) -> list[tuple[str, Limit]]:
    return [(place, limit) for limit in parsed(*texts)]


def test_a_shared_name_stands_for_one_limit() -> None:
    once = placed("[a] GET /x", "api: principal 1/s")
    check_shared([*once, *placed("[a] GET /y", "api: principal 1/s", "route 1/s")])
    check_shared([*placed("[a] GET /x", "route 1/s"), *placed("[a] GET /y", "route 2/s")])
    with pytest.raises(ConfigError) as caught:
        check_shared([*once, *placed("[limits] agent", "api: principal 2/10s burst 3 closed")])
    assert caught.value.message == (
        "The limit 'api' is written in two ways: 'api: principal 1/s burst 1' in [a] GET /x and "
        "'api: principal 2/10s burst 3 closed' in [limits] agent. "
        "Write it the same way in both, or give one another name."
    )


@st.composite
def written(draw: st.DrawFn) -> str:
    """A limit as it may be written: what it allows at once is back within 31 days."""
    rate = draw(st.integers(1, 1_000_000))
    period, seconds = draw(st.sampled_from([("s", 1), ("m", 60), ("7s", 7), ("2h", 7200)]))
    burst = draw(st.integers(1, min(1_000_000, rate * MONTH_S // seconds)))
    name, scope = draw(st.sampled_from(["", "api: "])), draw(st.sampled_from(SCOPES))
    return f"{name}{scope} {rate}/{period} burst {burst}" + " closed" * draw(st.booleans())


@given(written())
@example("principal 1/2h burst 372")
def test_a_limit_is_shown_as_it_may_be_written(text: str) -> None:
    (limit,) = parsed(text)
    assert parsed(limit.written) == (limit,)


@pytest.mark.parametrize("rate", [1, 145, 259, 283, 999_983])
def test_a_burst_may_take_31_days_to_the_second_to_come_back(rate: int) -> None:
    assert parsed(f"principal {rate}/31d")[0].burst == rate
    with pytest.raises(ConfigError, match="to come back"):
        parsed(f"principal {rate}/31d burst {rate + 1}")


def test_the_limits_of_roles_have_names() -> None:
    said = r"\[limits\] agent: 'principal 5/s burst 5' has no name. .* \"callers: principal 5/s"
    with pytest.raises(ConfigError, match=said):
        parse_limits(["principal 5/s"], "[limits] agent", signed_in=True, of_role=True)


LIMITED_BY_ROUTE = {
    "portrait": {
        "routes": [
            {"method": "GET", "path": "/x", "scope": "self", "limits": ["all: organisation 9/s"]}
        ]
    }
}


def test_a_name_in_a_route_and_in_a_role_stands_for_one_limit() -> None:
    def read(text: str) -> RouteFile:
        document = {**LIMITED_BY_ROUTE, "limits": {"agent": [text]}}
        return parse_route_file(document, ["portrait"], source="routes.toml")

    same = read("all: organisation 9/s")
    assert same.limits["agent"] == same.routes[0].limits
    with pytest.raises(ConfigError) as caught:
        read("all: organisation 8/s")
    for part in ("routes.toml: ", "[limits] agent", "[portrait] GET /x", "8/s", "9/s"):
        assert part in caught.value.message
