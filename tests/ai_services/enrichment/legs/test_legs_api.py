"""The legs of a call over HTTP, and maps that are suggested."""

from __future__ import annotations

import base64

import pytest

from ai_services.enrichment.reading.presets.built_in import BUILT_IN
from ai_services.enrichment.schemas import UploadQuery
from tests.ai_services.enrichment.calls_files import as_csv
from tests.ai_services.enrichment.imports.test_uploads_api import Sender
from tests.ai_services.enrichment.imports.test_uploads_api import sender as sender  # noqa: PLC0414 - a fixture
from tests.ai_services.enrichment.legs.test_joining import ALL, MAP
from tests.ai_services.enrichment.reading.tables.workbooks import compound, xlsx
from tests.ai_services.enrichment.suggesting.samples import UNKNOWN
from tests.ai_services.enrichment.suggesting.test_sheets import NAMES, ROWS
from tests.ai_services.enrichment.test_calls_api import config as config  # noqa: PLC0414 - a fixture

ROBOT = next(one for one in UNKNOWN if one.name == "robot-gbk.csv")


def test_a_request_may_name_every_preset() -> None:
    for name in BUILT_IN:
        assert UploadQuery(preset=name).preset == name


async def test_a_call_shows_its_legs(sender: Sender) -> None:
    column_map = base64.b64encode(MAP.encode()).decode()
    data = await sender.imported(as_csv(ALL), name="cdr.csv", column_map=column_map)
    assert (data["rows"], data["inserted"], data["duplicates"]) == (8, 3, 5)
    call = await sender.get("/api/v1/calls/1709619600.1")
    assert (call["call_status"], call["bill_ms"], len(call["legs"])) == ("connected", 120_000, 5)
    first = call["legs"][0]
    assert (first["user_id"], first["phone"]) == ("600", "138****8000")
    assert first["started_at"] == "2024-03-05T14:20:00+08:00"
    assert "13812348000" not in str(call)


async def test_a_call_of_one_row_has_no_legs(sender: Sender) -> None:
    await sender.imported(
        b"callid,user_id,started_at,duration_ms,call_status\n"
        b"a,u,2024-03-05T06:20:00Z,65000,connected\n"
    )
    assert (await sender.get("/api/v1/calls/a"))["legs"] == []


async def test_a_map_is_suggested_and_imports_the_file(sender: Sender) -> None:
    answer = await sender.client.post(
        "/api/v1/imports/suggest",
        params={"name": ROBOT.name},
        content=ROBOT.data,
        headers=sender.headers(**{"Content-Type": "text/csv"}),
    )
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["missing"], data["problem"], data["rows"], data["calls"]) == ([], None, 5, 5)
    assert {one["field"]: one["column"] for one in data["fields"]}["callid"] == "通话ID"
    assert all(0 <= one["confidence"] <= 1 for one in data["fields"])
    column_map = base64.b64encode(data["column_map"].encode()).decode()
    done = await sender.imported(ROBOT.data, name=ROBOT.name, column_map=column_map)
    assert (done["inserted"], done["rejected"]) == (5, 0)


async def test_a_map_is_suggested_for_a_sheet_and_imports_the_workbook(sender: Sender) -> None:
    book = xlsx(("汇总", [["坐席", "数量"], ["张三", 6]]), ("通话", [NAMES, *ROWS]))
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    answer = await sender.client.post(
        "/api/v1/imports/suggest",
        params={"name": "calls.xlsx", "sheet": "通话"},
        content=book,
        headers=sender.headers(**{"Content-Type": kind}),
    )
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["missing"], data["problem"], data["rows"], data["calls"]) == ([], None, 6, 6)
    column_map = base64.b64encode(data["column_map"].encode()).decode()
    done = await sender.imported(book, name="calls.xlsx", column_map=column_map)
    assert (done["inserted"], done["rejected"]) == (6, 0)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"\0\1\2\3" * 10, 422),
        (compound({"EncryptedPackage": b"x"}), 422),
        (b"x" * ((32 << 20) + 1), 413),
    ],
    ids=["empty", "binary", "password", "long"],
)
async def test_what_no_map_can_be_suggested_for_is_refused(
    sender: Sender, content: bytes, status: int
) -> None:
    answer = await sender.client.post(
        "/api/v1/imports/suggest",
        content=content,
        headers=sender.headers(**{"Content-Type": "text/csv"}),
    )
    assert answer.status_code == status
    assert answer.json()["message"]
