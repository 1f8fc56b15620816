"""Segments over a real socket, on a real database."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ai_services.portrait.computing.computation import compute
from ai_services.portrait.segments import refreshing, service
from ai_services.portrait.segments.refreshing import NAMED_AT_ONCE, refresh
from shared.data_access.relational.postgres import Postgres
from shared.jobs.enqueue import enqueue
from tests.ai_services.portrait.calls import Call, Organisation, at, new_organisation
from tests.ai_services.portrait.test_portrait_api import CALLS, Api, served
from tests.shared.jobs.workplace import until

WEEK_49 = at("2024-12-04 09:30")
BUSY = {"name": "busy", "expression": "fail_reason_dist.get('busy', 0) >= 1"}


@pytest.fixture(scope="module")
async def client(
    db: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    async with served(db, tmp_path_factory.mktemp("home")) as client:
        yield client


@pytest.fixture
async def api(client: httpx.AsyncClient, organisation: Organisation) -> Api:
    await counted(organisation, *CALLS)
    return Api(client, organisation)


async def counted(organisation: Organisation, *calls: Call) -> None:
    await organisation.write(*calls)
    await compute(organisation.db, organisation.org_id)


async def post(api: Api, path: str, body: Any, **kwargs: Any) -> httpx.Response:
    return await api.request("POST", f"/api/v1/{path}", json=body, **kwargs)


async def put(api: Api, name: str, body: Any, if_match: str | None) -> httpx.Response:
    request = httpx.Request("PUT", f"{api.client.base_url}/api/v1/segments/{name}", json=body)
    signed = api.client.build_request("PUT", request.url, content=request.content)
    signed.headers.update(await token(api))
    signed.headers["content-type"] = "application/json"
    if if_match is not None:
        signed.headers["if-match"] = if_match
    return await api.client.send(signed)


async def token(api: Api) -> dict[str, str]:
    asked = await api.get("segments")
    return {"X-Internal-Token": asked.request.headers["X-Internal-Token"]}


async def found(organisation: Organisation, name: str) -> None:
    """Wait for nobody: find the members now."""
    async with organisation.db.tenant(organisation.org_id) as tx:
        await refresh(tx, organisation.org_id, name, datetime.now(UTC))


async def told(organisation: Organisation) -> list[Any]:
    """What there is to tell of people."""
    return [one for one in await events(organisation) if one["change"] != "size"]


async def events(organisation: Organisation) -> list[Any]:
    async with organisation.db.tenant(organisation.org_id) as tx:
        rows = await tx.fetch("SELECT payload FROM outbox WHERE topic = 'segments' ORDER BY id")
    return [row["payload"] for row in rows]


async def names(api: Api, segment: str) -> list[str]:
    data = await api.data(f"segments/{segment}/members")
    return [one["subject"] for one in data["members"]]


async def test_members_of_a_new_segment_are_found_by_a_job(api: Api) -> None:
    body = {"name": "quiet", "expression": "connected_calls == 0", "description": "Nobody answers"}
    made = await post(api, "segments", body)
    assert made.status_code == 201, made.text
    assert made.json()["data"]["version"] == 1

    async def are_found() -> bool:
        return (await api.data("segments"))["segments"][0]["size"] is not None

    await until(are_found)
    (listed,) = (await api.data("segments"))["segments"]
    assert (listed["size"], listed["period_key"], listed["current"]) == (1, "2024-W51", True)
    assert await names(api, "quiet") == ["u2"]
    history = await api.data("segments/quiet/history")
    assert [(one["size"], one["entered"], one["left"]) for one in history["sizes"]] == [(1, 1, 0)]
    assert [one["updated_by"] for one in history["versions"]] == ["user:1"]
    assert await told(api.organisation) == []  # whom it began with is no news


async def test_the_schedule_has_members_found_where_there_are_segments(
    api: Api, db: Postgres, organisation: Organisation
) -> None:
    await new_organisation(db)
    assert (await post(api, "segments", BUSY)).status_code == 201
    await found(organisation, "busy")
    await counted(organisation, Call("d1", "u1", at("2024-12-18 10:00"), "busy"))
    async with db.system() as tx:
        await enqueue(tx, refreshing.JOBS[1], {}, org_id=None)

    async def are_found() -> bool:
        return await names(api, "busy") == ["u1"]

    await until(are_found)


async def test_a_condition_is_tried_before_it_is_saved(api: Api) -> None:
    body = {"expression": "negative_rate > 0.5 or avg_duration > 40", "period_key": "2024-W49"}
    tried = (await post(api, "segments/test", body)).json()["data"]
    assert (tried["errors"], tried["size"], tried["unknown"], tried["portraits"]) == ([], 2, 0, 2)
    assert tried["examples"] == [
        {"subject": "u1", "values": {"negative_rate": 0.0, "avg_duration": 45.25}},
        {"subject": "u2", "values": {"negative_rate": 1.0, "avg_duration": 0.5}},
    ]
    body = {"expression": "avg_duration > 40"}  # of week 51, whose one call wasn't answered
    tried = (await post(api, "segments/test", body)).json()["data"]
    assert (tried["period_key"], tried["size"], tried["unknown"]) == ("2024-W51", 0, 1)


async def test_what_is_wrong_with_an_expression_is_told_by_its_place(api: Api) -> None:
    body = {"expression": "total_calls > 1 and\nconect_rate < 0.3"}
    tried = (await post(api, "segments/test", body)).json()["data"]
    assert tried["errors"] == [
        {"line": 2, "column": 1, "problem": "there is no field 'conect_rate'",
         "hint": "did you mean connect_rate?"},
    ]  # fmt: skip
    refused = await post(api, "segments", {**body, "name": "wrong"})
    assert refused.status_code == 422
    (detail,) = refused.json()["details"]
    assert detail["problem"] == "line 2, column 1: there is no field 'conect_rate'"
    assert (await api.get("segments/wrong")).status_code == 404


async def test_who_enters_and_who_leaves_is_told(api: Api) -> None:
    organisation = api.organisation
    assert (await post(api, "segments", BUSY)).status_code == 201
    await found(organisation, "busy")
    assert await told(organisation) == []
    await counted(
        organisation,
        Call("d1", "u1", at("2024-12-18 10:00"), "busy"),
        Call("d2", "u2", at("2024-12-19 10:00"), "busy"),
    )
    await found(organisation, "busy")
    await found(organisation, "busy")  # nothing has changed: nothing is told
    (entered,) = await told(organisation)
    assert entered == {
        "change": "entered", "segment": "busy", "version": 1, "dimension": "user",
        "period_type": "week", "period_key": "2024-W51", "size": 2, "total": 2,
        "subjects": ["u1", "u2"],
    }  # fmt: skip
    await organisation.delete("d1")
    await compute(organisation.db, organisation.org_id)
    await found(organisation, "busy")
    _, left = await told(organisation)
    assert (left["change"], left["subjects"], left["size"]) == ("left", ["u1"], 1)


async def test_another_size_is_told_for_thresholds(api: Api) -> None:
    organisation = api.organisation
    assert (await post(api, "segments", BUSY)).status_code == 201
    for _ in range(2):
        await found(organisation, "busy")
    await counted(organisation, Call("d1", "u1", at("2024-12-18 10:00"), "busy"))
    await found(organisation, "busy")
    sizes = [one for one in await events(organisation) if one["change"] == "size"]
    assert [one["metrics"] for one in sizes] == [{"segment:busy": 0}, {"segment:busy": 1}]
    assert (sizes[0]["period_key"], sizes[0]["period_end"]) == ("2024-W51", "2024-12-22")


async def test_many_are_told_of_some_hundred_at_a_time(api: Api) -> None:
    organisation = api.organisation
    assert (await post(api, "segments", BUSY)).status_code == 201
    await found(organisation, "busy")
    many = [Call(f"m{n}", f"m{n:04}", at("2024-12-18 10:00"), "busy") for n in range(1200)]
    await counted(organisation, *many)
    async with organisation.db.tenant(organisation.org_id) as tx:
        moved = await refresh(tx, organisation.org_id, "busy", datetime.now(UTC), named=1000)
    assert moved is not None
    assert moved.entered == 1200
    messages = await told(organisation)
    assert [len(one["subjects"]) for one in messages] == [NAMED_AT_ONCE, NAMED_AT_ONCE]
    assert {one["total"] for one in messages} == {1200}
    first = await api.data("segments/busy/members", limit=1000)
    rest = await api.data("segments/busy/members", limit=1000, cursor=first["next_cursor"])
    assert len(first["members"]) + len(rest["members"]) == 1200
    assert rest["next_cursor"] is None
    exported = await api.get("segments/busy/export", format="csv")
    assert exported.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(exported.text)))
    assert rows[0] == ["user_id", "since", "period_key"]
    assert [row[0] for row in rows[1:]] == [f"m{n:04}" for n in range(1200)]


async def test_a_cell_that_looks_like_a_formula_is_a_text(api: Api) -> None:
    await counted(api.organisation, Call("f1", "=1+1", at("2024-12-18 10:00"), "busy"))
    assert (await post(api, "segments", BUSY)).status_code == 201
    await found(api.organisation, "busy")
    assert "\r\n'=1+1," in (await api.get("segments/busy/export")).text


async def test_two_editors_at_once_do_not_write_over_each_other(api: Api) -> None:
    assert (await post(api, "segments", BUSY)).status_code == 201
    read = await api.get("segments/busy")
    tag = read.headers["etag"]
    request = api.client.build_request("GET", "/api/v1/segments/busy")
    request.headers.update({**(await token(api)), "if-none-match": tag})
    assert (await api.client.send(request)).status_code == 304
    body = {"expression": "total_calls >= 10"}
    assert (await put(api, "busy", body, None)).status_code == 422
    first = await put(api, "busy", body, tag)
    assert first.status_code == 200, first.text
    assert first.json()["data"]["version"] == 2
    second = await put(api, "busy", {"expression": "total_calls >= 20"}, tag)
    assert (second.status_code, second.json()["error"]) == (412, "precondition_failed")
    weak = await put(api, "busy", body, f"W/{first.headers['etag']}")
    assert weak.json()["data"]["version"] == 2  # nothing differs: no new version
    other = await put(api, "busy", {**body, "dimension": "customer"}, "*")
    assert other.status_code == 422
    history = await api.data("segments/busy/history")
    assert [one["expression"] for one in history["versions"]] == [
        "total_calls >= 10", BUSY["expression"],
    ]  # fmt: skip


async def test_a_changed_condition_is_no_news_about_people(api: Api) -> None:
    assert (await post(api, "segments", BUSY)).status_code == 201
    await found(api.organisation, "busy")
    assert (await put(api, "busy", {"expression": "total_calls >= 1"}, "*")).status_code == 200
    await found(api.organisation, "busy")
    assert await names(api, "busy") == ["u2"]
    assert await told(api.organisation) == []


async def test_a_segment_goes_with_its_members(api: Api) -> None:
    assert (await post(api, "segments", BUSY)).status_code == 201
    assert (await post(api, "segments", BUSY)).status_code == 409
    await found(api.organisation, "busy")
    gone = await api.request("DELETE", "/api/v1/segments/busy")
    assert gone.status_code == 200
    assert (await api.get("segments/busy/members")).status_code == 404
    async with api.organisation.db.tenant(api.organisation.org_id) as tx:
        for table in ("segment", "segment_version", "segment_member", "segment_size"):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_overlap_counts_who_is_in_several(api: Api) -> None:
    await counted(
        api.organisation,
        *(Call(f"o{n}", f"o{n}", at("2024-12-18 10:00"), "busy") for n in range(3)),
        Call("o9", "o1", at("2024-12-18 11:00"), "no_answer"),
    )
    for name, expression in (
        ("busy", BUSY["expression"]),
        ("calm", "fail_reason_dist.get('no_answer', 0) > 0"),
    ):
        assert (await post(api, "segments", {"name": name, "expression": expression})).is_success
        await found(api.organisation, name)
    data = await api.data("segments/overlap", names="busy,calm")
    assert data["sizes"] == {"busy": 3, "calm": 2}
    assert data["regions"] == [
        {"names": ["busy"], "size": 2},
        {"names": ["busy", "calm"], "size": 1},
        {"names": ["calm"], "size": 1},
    ]
    assert data["pairs"] == [{"names": ["busy", "calm"], "both": 1, "either": 4, "jaccard": 0.25}]
    assert (await api.get("segments/overlap", names="busy")).status_code == 422
    assert (await api.get("segments/overlap", names="busy,nobody")).status_code == 404


async def test_the_last_period_that_ended_is_asked_when_that_is_wanted(api: Api) -> None:
    now = datetime.now(UTC)
    ended = now - timedelta(days=7)
    await counted(api.organisation, Call("n1", "now", now), Call("n2", "then", ended))
    for period, expected in (("newest", "now"), ("ended", "then")):
        body = {"name": period, "expression": "total_calls > 0", "period": period}
        assert (await post(api, "segments", body)).is_success
        await found(api.organisation, period)
        assert await names(api, period) == [expected]


async def test_a_customer_who_is_gone_is_shown_no_more(api: Api) -> None:
    organisation = api.organisation
    calls = [
        Call(f"k{n}", "u1", at("2024-12-18 10:00"), "busy", customer_id=f"k{n}") for n in (1, 2)
    ]
    await counted(organisation, *calls)
    body = {"name": "busy", "dimension": "customer", "expression": BUSY["expression"]}
    assert (await post(api, "segments", body)).is_success
    await found(organisation, "busy")
    assert await names(api, "busy") == ["k1", "k2"]
    await organisation.delete("k1")
    assert await names(api, "busy") == ["k2"]
    await compute(organisation.db, organisation.org_id)
    await found(organisation, "busy")
    assert await told(organisation) == []


async def test_organisations_have_segments_of_their_own(api: Api, db: Postgres) -> None:
    other = Api(api.client, await new_organisation(db))
    assert (await post(api, "segments", BUSY)).status_code == 201
    assert (await other.data("segments"))["segments"] == []
    assert (await other.get("segments/busy")).status_code == 404
    assert (await post(other, "segments", BUSY)).status_code == 201


async def test_a_segment_needs_the_right_role_and_a_name(api: Api) -> None:
    assert (await post(api, "segments", BUSY, role="agent")).status_code == 403
    for name in ("", "Busy", "a b", "test", "overlap", "../x", "é", "-a", "a" * 65):
        assert (await post(api, "segments", {**BUSY, "name": name})).status_code == 422, name
    wrong = await post(api, "segments", {**BUSY, "dimension": "planet"})
    assert "send one of user, customer" in wrong.text


async def test_there_are_at_most_so_many(api: Api, organisation: Organisation) -> None:
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute(
            "INSERT INTO segment (org_id, name, dimension, period_type, period, expression, description,"
            " updated_by) SELECT $1, 's' || n, 'user', 'week', 'newest', 'total_calls > 1', '', 'me'"
            " FROM generate_series(1, $2::int) AS n",
            organisation.org_id,
            service.MOST,
        )
    refused = await post(api, "segments", BUSY)
    assert refused.status_code == 422
    assert str(service.MOST) in refused.json()["message"]


async def test_an_expression_that_figures_do_not_know_any_more_is_a_problem(api: Api) -> None:
    assert (await post(api, "segments", BUSY)).status_code == 201
    async with api.organisation.db.tenant(api.organisation.org_id) as tx:
        await tx.execute("UPDATE segment SET expression = 'charm > 1'")
    await found(api.organisation, "busy")
    (listed,) = (await api.data("segments"))["segments"]
    assert "there is no field 'charm'" in listed["problem"]
