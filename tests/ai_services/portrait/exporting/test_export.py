"""Exports hold every portrait of a period, in parts, and no formula."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from pyarrow import parquet

from ai_services.portrait.exporting import export as exporting
from tests.ai_services.portrait.calls import Call, at, new_organisation, opened
from tests.ai_services.portrait.test_portrait_api import (  # noqa: F401 - fixtures
    CALLS,
    Api,
    client,
    empty,
    served,
)

FORMULA = '=HYPERLINK("http://x")'


@pytest.fixture
async def api(empty: Api) -> Api:  # noqa: F811
    await empty.organisation.write(*[replace(call, customer_id="k1") for call in CALLS])
    assert (await empty.compute({})).status_code == 200
    return empty


@pytest.fixture
async def many(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """More portraits than two batches hold, in a database where nobody else waits for them."""
    users = [
        Call(f"m{number}", f"v{number:05}", at("2024-12-04 10:00"), "busy")
        for number in range(2 * exporting.BATCH + 7)
    ]
    async with opened(database_url) as db, served(db, tmp_path) as client:  # noqa: F811
        api = Api(client, await new_organisation(db))
        await api.organisation.write(
            *CALLS, replace(CALLS[0], callid="f1", user_id=FORMULA), *users
        )
        assert (await api.compute({"period_key": "2024-12"})).status_code == 200
        yield api


def read(form: str, content: bytes) -> list[dict[str, Any]]:
    if form == "csv":
        return list(csv.DictReader(io.StringIO(content.decode())))
    if form == "parquet":
        rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(content)).to_pylist()
        return rows
    sheet = openpyxl.load_workbook(io.BytesIO(content), read_only=True).active
    assert sheet is not None
    head, *values = sheet.iter_rows(values_only=True)
    return [dict(zip(map(str, head), row, strict=True)) for row in values]


async def test_an_export_holds_every_portrait_of_a_period(many: Api) -> None:
    for form in ("csv", "parquet", "xlsx"):
        await check(many, form)


async def check(api: Api, form: str) -> None:
    answer = await api.get("portrait/export", format=form)
    assert answer.status_code == 200
    name = f'attachment; filename="portraits-of-users-2024-12.{form}"'
    assert answer.headers["content-disposition"] == name
    rows = {row["user_id"]: row for row in read(form, answer.content)}
    stored = {
        user: row
        for (kind, _, user), row in (await api.organisation.stored()).items()
        if kind == "month"
    }
    assert len(rows) == len(stored) == 2 * exporting.BATCH + 10
    told = FORMULA if form == "parquet" else "'" + FORMULA
    assert rows.keys() == {told if user == FORMULA else user for user in stored}
    for column in ("total_calls", "connect_rate", "total_duration", "avg_rounds"):
        assert float(rows["u1"][column]) == pytest.approx(float(stored["u1"][column]))
    assert rows["v00001"]["avg_duration"] in ("", None)
    assert rows["v00001"]["fail_reason_dist"] == '{"busy":1}'


async def test_customers_are_exported_likewise(api: Api) -> None:
    answer = await api.get("portrait/export", dimension="customers", period_key="2024-12")
    (row,) = read("csv", answer.content)
    assert (row["customer_id"], row["total_calls"]) == ("k1", "5")


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"dimension": "planets"}, 422),
        ({"format": "pdf"}, 422),
        ({"period_key": "2024-W49"}, 422),
        ({"period_type": "year"}, 422),
    ],
)
async def test_bad_requests_are_refused_before_anything_is_sent(
    api: Api, params: Any, status: int
) -> None:
    assert (await api.get("portrait/export", **params)).status_code == status


async def test_before_anything_is_computed_there_is_nothing(empty: Api) -> None:  # noqa: F811
    assert (await empty.get("portrait/export")).status_code == 404


async def test_an_agent_exports_nothing(api: Api) -> None:
    answer = await api.request("GET", "/api/v1/portrait/export", role="agent")
    assert answer.status_code == 403
