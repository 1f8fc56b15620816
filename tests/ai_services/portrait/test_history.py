"""Portraits by dimension over the API: any id, all periods, two of them side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from tests.ai_services.portrait.calls import Call, at
from tests.ai_services.portrait.test_portrait_api import (  # noqa: F401 - fixtures
    CALLS,
    Api,
    api,
    client,
    empty,
)


@pytest.mark.parametrize(
    "name", ["summary", "trend", "history", "compare", "customers", "users", "a b/?", "export"]
)
async def test_a_user_of_any_name_is_reachable(empty: Api, name: str) -> None:  # noqa: F811
    await empty.organisation.write(replace(CALLS[0], user_id=name))
    await empty.compute({})
    path = "portrait/users/" + quote(name, safe="")
    found = await empty.data(path)
    assert (found["user_id"], found["call_stats"]["total_calls"]) == (name, 1)
    history = await empty.data(f"{path}/history")
    assert [one["period"]["key"] for one in history["periods"]] == ["2024-W49"]
    trend = await empty.data(f"{path}/trend", metric="total_calls")
    assert [point["value"] for point in trend["series"]] == [1]


async def test_campaigns_and_agents_have_portraits_by_the_same_routes(empty: Api) -> None:  # noqa: F811
    await empty.organisation.write(replace(CALLS[0], task_id="t1", agent_id="a1"))
    await empty.compute({})
    for path, key in (("tasks/t1", "task_id"), ("agents/a1", "agent_id")):
        found = await empty.data(f"portrait/{path}")
        assert (found[key], found["call_stats"]["total_calls"]) == (path[-2:], 1)
        assert len((await empty.data(f"portrait/{path}/history"))["periods"]) == 1
        detail = await empty.data(f"portrait/{path}/detail")
        assert sum(map(sum, detail["hours"]["calls"])) == 1
        exported = await empty.get("portrait/export", dimension=path.split("/")[0])
        assert path[-2:] in exported.text
        assert (await empty.get(f"portrait/{path[:-1]}0")).status_code == 404


async def test_the_same_portrait_stands_under_both_paths(api: Api) -> None:  # noqa: F811
    for params in ({}, {"period_type": "month"}, {"period_key": "2024-W49"}):
        assert await api.data("portrait/users/u1", **params) == await api.data(
            "portrait/u1", **params
        )


async def test_who_has_no_calls_in_a_period_has_a_portrait_of_nothing(api: Api) -> None:  # noqa: F811
    await api.organisation.write(replace(CALLS[0], customer_id="k1"))
    await api.compute({})
    for path in ("portrait/customers/k1", "portrait/users/u1"):
        found = await api.data(path, period_key="2024-W51")
        assert found["call_stats"]["total_calls"] == 0
        assert found["call_stats"]["connect_rate"] is None
        assert (found["as_of"], found["share_analysed"]) == (None, None)
    for path in ("portrait/customers/nobody", "portrait/users/nobody"):
        for more, params in (
            ("", {}), ("/history", {}), ("/compare", {}), ("/trend", {"metric": "total_calls"}),
        ):  # fmt: skip
            answer = await api.get(path + more, **params)
            assert answer.status_code == 404, path + more


async def test_a_history_is_paged_from_new_to_old(api: Api) -> None:  # noqa: F811
    months = [
        Call(f"m{month}", "u1", at(f"2023-{month:02}-15 10:00"), customer_id="k1")
        for month in range(1, 8)
    ]
    await api.organisation.write(*months)
    await api.compute({})
    for path in ("portrait/customers/k1", "portrait/users/u1", "portrait/summary"):
        keys: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await api.data(f"{path}/history", period_type="month", limit=3, **cursor)
            keys += [one["period"]["key"] for one in page["periods"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        later = [] if path.endswith("k1") else ["2024-12"]
        assert keys == [*later, *(f"2023-{month:02}" for month in range(7, 0, -1))]
    other = await api.get("portrait/users/u2/history", **cursor)
    assert other.status_code == 400, "a cursor is good for its list only"


async def test_periods_are_compared_and_tested(api: Api) -> None:  # noqa: F811
    """60 of 80 calls connect, then 20 of 80; calls get twice as long."""
    calls = [
        Call(
            f"{week}-{number}", "u9", at(f"2024-12-{2 + 7 * week:02} 10:00"),
            "connected" if number < connected else "busy", (1 + week) * (1000 + number), number % 3,
            customer_id="k9",
        )
        for week, connected in ((0, 60), (1, 20))
        for number in range(80)
    ]  # fmt: skip
    await api.organisation.write(*calls)
    await api.compute({})
    for path in ("portrait/users/u9", "portrait/customers/k9"):
        found = await api.data(f"{path}/compare")
        assert (found["period"]["period"]["key"], found["other"]["period"]["key"]) == (
            "2024-W50", "2024-W49",
        )  # fmt: skip
        rate = found["metrics"]["connect_rate"]
        assert (rate["value"], rate["before"], rate["difference"]) == (0.25, 0.75, -0.5)
        assert rate["test"] == "two_proportion_z"
        assert rate["p_value"] == pytest.approx(2.5e-10, rel=0.1)
        duration = found["metrics"]["avg_duration"]
        assert duration["test"] == "welch_t"
        assert duration["p_value"] < 1e-9
        assert found["metrics"]["negative_rate"] == {
            "value": None, "before": None, "difference": None, "test": None, "p_value": None,
        }  # fmt: skip
        back = await api.data(f"{path}/compare", period_key="2024-W49", **{"with": "2024-W50"})
        assert back["metrics"]["connect_rate"]["difference"] == 0.5
        assert back["metrics"]["connect_rate"]["p_value"] == rate["p_value"]
        change = (await api.data(path))["change"]
        assert change["against"] == "2024-W49"
        assert change["metrics"]["connect_rate"] == {
            name: value for name, value in rate.items() if name != "value"
        }
    together = await api.data("portrait/summary/compare", period_key="2024-W50")
    assert together["metrics"]["total_calls"]["difference"] == 80 - 84
    assert together["metrics"]["avg_duration"]["test"] is None


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("portrait/planets/x", {}, "dimension"),
        ("portrait/user/x", {}, "dimension"),
        ("portrait/users/u1", {"period_key": "2024-W99"}, "period_key"),
        ("portrait/users/u1/trend", {"metric": "joy"}, "metric"),
        ("portrait/users/u1/trend", {"metric": "total_calls", "limit": -1}, "limit"),
        ("portrait/users/u1/history", {"limit": 0}, "limit"),
        ("portrait/users/u1/history", {"limit": 10**9}, "limit"),
        ("portrait/users/u1/history", {"cursor": "bm8"}, "cursor"),
        ("portrait/users/u1/compare", {"with": "2024-Q4"}, "with"),
        ("portrait/users/u1/compare", {"period_key": "2024-W49", "with": "2024-W49"}, "with"),
        ("portrait/summary/compare", {"period_type": "year"}, "period_type"),
    ],
)
async def test_bad_queries_name_their_field(
    api: Api,  # noqa: F811
    path: str,
    params: Any,
    field: str,
) -> None:
    answer = await api.get(path, **params)
    assert answer.status_code == 422
    (detail,) = answer.json()["details"]
    assert detail["field"] == field
    assert detail["problem"]
    assert detail["fix"]


async def test_what_a_client_has_is_not_sent_again(api: Api) -> None:  # noqa: F811
    first = await api.get("portrait/users/u1")
    tag = first.headers["etag"]
    token = dict(first.request.headers)["x-internal-token"]
    again = await api.client.get(
        "/api/v1/portrait/users/u1", headers={"X-Internal-Token": token, "If-None-Match": tag}
    )
    assert (again.status_code, again.content) == (304, b"")
    await api.organisation.write(replace(CALLS[0], callid="c9", started_at=at("2024-12-06 10:00")))
    await api.compute({})
    changed = await api.client.get(
        "/api/v1/portrait/users/u1", headers={"X-Internal-Token": token, "If-None-Match": tag}
    )
    assert changed.status_code == 200
