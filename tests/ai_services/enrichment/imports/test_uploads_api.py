"""Files sent to the enrichment service over a real socket."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import polars as pl
import pytest

from ai_services.enrichment.app import create_service
from shared.config import Config
from shared.data_access.relational.postgres import Postgres
from shared.security import InternalTokens, Principal, Role
from tests.ai_services.enrichment.calls_files import as_csv, as_jsonl, call
from tests.ai_services.enrichment.reading.tables.workbooks import xlsx
from tests.ai_services.enrichment.test_calls_api import SECRET, organisation, until
from tests.ai_services.enrichment.test_calls_api import config as config  # noqa: PLC0414 - a fixture

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
WAIT = {"Prefer": "wait=60"}


class Sender:
    """A client of one organisation."""

    def __init__(self, client: httpx.AsyncClient, org_id: UUID, db: Postgres) -> None:
        self.client = client
        self.org_id = org_id
        self.db = db

    def headers(self, role: Role = "analyst", **more: str) -> dict[str, str]:
        principal = Principal(self.org_id, "user:1", role, "user")
        token = InternalTokens(SECRET.encode()).mint(principal, "enrichment")
        return {"X-Internal-Token": token, **more}

    async def send(
        self, content: Any, media: str = "text/csv", *, wait: bool = True, **params: Any
    ) -> httpx.Response:
        headers = self.headers(**{"Content-Type": media}, **(WAIT if wait else {}))
        return await self.client.post(
            "/api/v1/imports", content=content, headers=headers, params=params
        )

    async def imported(
        self, content: Any, media: str = "text/csv", **params: Any
    ) -> dict[str, Any]:
        answer = await self.send(content, media, **params)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.client.get(path, headers=self.headers())
        assert answer.status_code == 200
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def kept(self) -> tuple[int, int, int, int]:
        """Files, parts, imports and jobs that there are, of all organisations."""
        async with self.db.system() as tx:
            row = await tx.fetchrow(
                """SELECT (SELECT count(*) FROM import_file), (SELECT count(*) FROM import_part),
                          (SELECT count(*) FROM import_run),
                          (SELECT count(*) FROM job WHERE name = 'import_calls')"""
            )
        assert row is not None
        files, parts, imports, jobs = row.values()
        return files, parts, imports, jobs


@pytest.fixture
async def sender(config: Config) -> AsyncIterator[Sender]:
    assert config.database_url
    db = Postgres(config.database_url, pool_size=2)
    async with (
        create_service(config).running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=70) as client,
    ):
        yield Sender(client, await organisation(config), db)
        await db.close()


def calls(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [call(callid=f"c-{number}", **changes) for number in range(count)]


async def test_a_file_is_imported_and_its_counts_are_the_answer(sender: Sender) -> None:
    rows = [*calls(3), call(callid="bad", duration_ms="long"), call(callid="c-1", rounds=1)]
    data = await sender.imported(as_csv(rows), name="day.csv")
    counts = {name: data[name] for name in ("rows", "inserted", "duplicates", "rejected")}
    assert counts == {"rows": 5, "inserted": 3, "duplicates": 1, "rejected": 1}
    assert data["error"] is None
    (listed,) = (await sender.get("/api/v1/imports"))["imports"]
    assert (listed["import_id"], listed["source"], listed["preset"]) == (
        data["import_id"], "day.csv", "calls",
    )  # fmt: skip
    assert listed["finished_at"] is not None
    (reject,) = (await sender.get(f"/api/v1/imports/{data['import_id']}/rejects"))["rejects"]
    assert (reject["line"], reject["field"]) == (5, "duration_ms")
    assert (await sender.get("/api/v1/calls/c-1"))["rounds"] == 1
    assert await sender.kept() == (0, 0, 1, 1)


async def test_without_waiting_the_job_is_the_answer(sender: Sender) -> None:
    answer = await sender.send(as_csv(calls(2)), wait=False)
    assert answer.status_code == 202
    job = answer.json()["data"]
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert job["name"] == "import_calls"

    async def done() -> bool:
        (one,) = (await sender.get("/api/v1/imports"))["imports"]
        assert (one["import_id"], one["job_id"]) == (job["args"]["import_id"], job["id"])
        return one["finished_at"] is not None

    await until(done)
    assert (await sender.get("/api/v1/calls/c-0"))["callid"] == "c-0"


def workbook(rows: list[dict[str, Any]]) -> bytes:
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    return xlsx(("Summary", [["calls"], [len(rows)]]), ("calls", table))


def parquet(rows: list[dict[str, Any]]) -> bytes:

    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "media"),
    [
        (as_csv(calls(4)), "text/csv"),
        (as_csv(calls(4)), "TEXT/CSV; charset=utf-8"),
        (as_jsonl(calls(4)), "application/x-ndjson"),
        (as_jsonl(calls(4)), "application/json"),
        (gzip.compress(as_jsonl(calls(4))), "application/gzip"),
        (gzip.compress(as_csv(calls(4))), "text/csv"),
        (parquet(calls(4)), "application/vnd.apache.parquet"),
        (as_csv(calls(4)), "application/octet-stream"),
        (workbook(calls(4)), XLSX),
        (workbook(calls(4)), "application/octet-stream"),
        (as_csv(calls(4), "\t").decode().encode("utf-16"), "application/vnd.ms-excel"),
        (as_csv(calls(4, task_id="外呼")).decode().encode("gbk"), "text/csv; charset=UTF-8"),
        (json.dumps({"data": {"list": calls(4)}}, indent=1), "application/json"),
        (json.dumps(calls(4)), "application/json"),
    ],
)
async def test_whatever_a_file_of_calls_is_it_is_read(sender, content, media) -> None:
    data = await sender.imported(content, media)
    assert (data["inserted"], data["rejected"], data["error"]) == (4, 0, None)


async def test_a_file_is_tried_out_and_nothing_of_it_is_stored(sender: Sender) -> None:
    wrong = (call(callid=f"wrong-{number}", duration_ms="long" * 40) for number in range(300))
    content = as_csv([*calls(4), *wrong])
    answer = await sender.send(content, dry_run="true")
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["rows"], data["good"], data["rejected"], data["error"]) == (304, 4, 300, None)
    assert [one["line"] for one in data["rejects"]] == [*range(6, 6 + len(data["rejects"]))]
    assert len(data["rejects"]) > 2
    assert "13812348000" not in answer.text
    assert await sender.kept() == (0, 0, 0, 0)
    assert (await sender.get("/api/v1/imports"))["imports"] == []
    assert (
        await sender.client.get("/api/v1/calls/c-0", headers=sender.headers())
    ).status_code == 404
    assert (await sender.send(b"name,age\nx,1\n", dry_run="true")).status_code == 422
    assert (await sender.imported(content))["inserted"] == 4


async def test_an_encoding_is_taken_from_charset_or_query(sender: Sender) -> None:
    content = as_csv(calls(1, task_id="外呼")).decode().encode("gbk")
    assert (await sender.imported(content, "text/csv; charset=gbk"))["inserted"] == 1
    assert (await sender.get("/api/v1/calls/c-0"))["task_id"] == "外呼"
    assert (await sender.imported(content, encoding="gb18030"))["unchanged"] == 1
    assert (await sender.imported(content))["unchanged"] == 1  # by its bytes
    wrong = await sender.send(content, encoding="utf-17")
    assert wrong.status_code == 422
    assert wrong.json()["details"][0]["field"] == "encoding"


async def test_a_sheet_is_chosen_and_told(sender: Sender) -> None:
    content = workbook(calls(2))
    (note,) = (await sender.imported(content, XLSX))["notes"]
    assert "'calls' is read" in note
    assert (await sender.imported(content, XLSX, sheet="calls"))["unchanged"] == 2
    wrong = await sender.send(content, XLSX, sheet="Summary")
    assert (wrong.status_code, "lacks" in wrong.text) == (422, True)
    assert "leave the sheet out" in (await sender.send(as_csv(calls(1)), sheet="calls")).text


async def test_a_column_map_comes_along(sender: Sender) -> None:
    renamed = [{("编号" if name == "callid" else name): value for name, value in call().items()}]
    toml = '[columns]\ncallid = "编号"\n'.encode()
    for spelled in (base64.b64encode(toml), base64.urlsafe_b64encode(toml).rstrip(b"=")):
        data = await sender.imported(as_csv(renamed), column_map=spelled.decode())
        assert data["rejected"] == 0
    assert (await sender.get("/api/v1/imports"))["imports"][0]["preset"] == "column_map"
    for wrong in (
        "%%%",
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"[colums]").decode(),
    ):
        answer = await sender.send(as_csv(renamed), column_map=wrong)
        assert answer.status_code == 422, wrong
    assert (await sender.kept())[0] == 0


async def test_unknown_columns_are_a_note_or_refuse_the_file(sender: Sender) -> None:
    content = as_csv(calls(1, colour="blue"))
    (note,) = (await sender.imported(content))["notes"]
    assert "colour" in note
    answer = await sender.send(content, strict_columns="true")
    assert answer.status_code == 422
    assert "colour" in answer.text


async def test_more_notes_than_a_result_holds_end_no_import(sender: Sender) -> None:
    strange = {f"第{number}列" + "列" * 90: "x" for number in range(60)}
    toml = "[columns]\n" + "".join(
        f'{name} = "{name}{"字" * 200}"\n'
        for name in ("task_id", "customer_id", "phone", "level_name", "bill_ms", "rounds")
    )
    mapped = base64.b64encode(toml.encode()).decode()
    data = await sender.imported(as_csv(calls(2, **strange)), column_map=mapped)
    assert (data["inserted"], data["error"]) == (2, None)
    (listed,) = (await sender.get("/api/v1/imports"))["imports"]
    assert len(listed["notes"]) > len(data["notes"]) > 0
    assert data["notes"] == listed["notes"][: len(data["notes"])]
    assert max(map(len, listed["notes"])) == 500


BAD_BODIES = [
    (b"", "text/csv", 422, "empty"),
    (b" \n\n ", "text/csv", 422, "empty"),
    (b"\x00\x01\x02" * 5000, "text/csv", 422, "not a text file"),
    (b"PK\x03\x04rest", "application/octet-stream", 422, "zip"),
    (b"<p>x</p>", "text/csv", 422, "HTML"),
    (b"name,age\nx,1\n", "text/csv", 422, "callid"),
    (b"PAR1 and no more", "application/octet-stream", 422, "Parquet"),
    (gzip.compress(b"\0" * (64 << 20)), "application/gzip", 422, "not a text file"),
    (as_csv(calls(1)), "application/x-www-form-urlencoded", 415, "text/csv"),
    (as_csv(calls(1)), "multipart/form-data; boundary=x", 415, "text/csv"),
]


@pytest.mark.parametrize(("content", "media", "status", "told"), BAD_BODIES)
async def test_what_is_no_file_of_calls_is_refused_and_leaves_nothing(
    sender, content, media, status, told
) -> None:
    answer = await sender.send(content, media)
    assert answer.status_code == status
    failure = answer.json()
    assert told in failure["message"]
    assert all(one["problem"] and one["fix"] for one in failure["details"])
    assert await sender.kept() == (0, 0, 0, 0)
    assert (await sender.imported(as_csv(calls(1))))["inserted"] == 1  # the service goes on


async def test_a_content_coding_is_refused_and_says_what_is_taken(sender: Sender) -> None:
    headers = sender.headers(**{"Content-Type": "text/csv", "Content-Encoding": "gzip"})
    bomb = gzip.compress(b"0" * (8 << 20))
    answer = await sender.client.post("/api/v1/imports", content=bomb, headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    answer = await sender.send(b"x", "image/png")
    assert "text/csv" in answer.headers["accept"]
    assert await sender.kept() == (0, 0, 0, 0)


def endless_line(size: int) -> bytes:
    """A gzip file of one line of that many bytes, a thousandth as large."""
    squeeze = zlib.compressobj(9, wbits=31)
    block = b"x" * (1 << 20)
    return b"".join([*(squeeze.compress(block) for _ in range(size >> 20)), squeeze.flush()])


async def test_a_bomb_is_not_unpacked_to_its_end(sender: Sender) -> None:
    answer = await sender.send(endless_line(512 << 20), "application/gzip")
    assert answer.status_code == 422
    assert "unpacks to more" in answer.json()["message"]
    assert await sender.kept() == (0, 0, 0, 0)


async def test_a_row_too_long_is_rejected_by_itself(sender: Sender) -> None:
    rows = as_jsonl(calls(2))
    content = rows + b'{"callid": "' + b"x" * (9 << 20) + b'"}\n' + as_jsonl([call(callid="z")])
    data = await sender.imported(content, "application/x-ndjson")
    assert (data["inserted"], data["rejected"]) == (3, 1)


async def test_a_file_that_is_refused_on_its_way_says_so_in_the_import(sender: Sender) -> None:
    rows = [*calls(40_000), call(callid="late", colour="blue")]
    data = await sender.imported(as_jsonl(rows), "application/x-ndjson", strict_columns="true")
    assert 0 < data["inserted"] < 40_000  # what came before stays
    assert "colour" in data["error"]
    (listed,) = (await sender.get("/api/v1/imports"))["imports"]
    assert listed["error"] == data["error"]
    assert (await sender.kept())[0] == 0


async def test_a_gzip_file_that_is_cut_off_brings_in_what_it_has(sender: Sender) -> None:
    whole = gzip.compress(as_jsonl(calls(2000, task_id=None)), 1)
    data = await sender.imported(whole[: len(whole) // 2], "application/gzip")
    assert 0 < data["inserted"] < 2000
    assert data["rejected"] == 1
    assert "cut off" in data["error"]


async def test_the_same_file_twice_changes_nothing(sender: Sender) -> None:
    content = as_csv(calls(50))
    first = await sender.imported(content)
    again = await sender.imported(content)
    assert (first["inserted"], again["inserted"], again["unchanged"]) == (50, 0, 50)


async def test_the_same_file_many_times_at_once_is_one_job(sender: Sender) -> None:
    content = as_csv(calls(3000))
    answers = await asyncio.gather(*(sender.send(content, wait=False) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    jobs = {answer.json()["data"]["id"] for answer in answers}

    async def over() -> bool:
        async with sender.db.system() as tx:
            return not await tx.fetchval(
                "SELECT count(*) FROM job WHERE finished_at IS NULL AND name = 'import_calls'"
            )

    await until(over, 60)
    files, parts, imports, there = await sender.kept()
    assert (files, parts) == (0, 0)
    assert imports == there == len(jobs)
    async with sender.db.system() as tx:
        assert await tx.fetchval("SELECT sum(inserted) FROM import_run") == 3000


async def test_an_upload_that_is_cut_off_leaves_nothing(sender: Sender) -> None:
    content = as_csv(calls(20_000))  # more than a part

    async def half() -> AsyncIterator[bytes]:
        yield content[: 3 << 19]
        await until(begun)
        raise ConnectionResetError

    async def begun() -> bool:
        return (await sender.kept())[1] == 1

    async def gone() -> bool:
        return await sender.kept() == (0, 0, 0, 0)

    with pytest.raises(ConnectionResetError):
        await sender.send(half())
    await until(gone)


async def test_what_is_too_large_is_refused_before_it_is_read(sender: Sender) -> None:
    """By the length that is announced; what comes in chunks when it has come too far."""
    url = sender.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    lines = sender.headers(**{"Content-Type": "text/csv", "Content-Length": str(1 << 40)})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"POST /api/v1/imports HTTP/1.1\r\nHost: x\r\n{head}\r\nx".encode())
    async with asyncio.timeout(20):
        answer = await reader.readuntil(b"}")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert str(256 << 20).encode() in answer
    assert await sender.kept() == (0, 0, 0, 0)


async def test_too_many_files_at_once_are_put_off(sender: Sender) -> None:
    async with sender.db.tenant(sender.org_id) as tx:
        await tx.execute(
            """INSERT INTO import_file (org_id, import_id)
               SELECT $1, gen_random_uuid() FROM generate_series(1, 20)""",
            sender.org_id,
        )
    answer = await sender.send(as_csv(calls(1)))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert (await sender.kept())[0] == 20


async def test_only_who_may_write_calls_sends_files(sender: Sender) -> None:
    headers = sender.headers("agent", **{"Content-Type": "text/csv"})
    answer = await sender.client.post("/api/v1/imports", content=as_csv(calls(1)), headers=headers)
    assert answer.status_code == 403
    answer = await sender.client.post("/api/v1/imports", content=as_csv(calls(1)))
    assert answer.status_code == 401
    assert await sender.kept() == (0, 0, 0, 0)
