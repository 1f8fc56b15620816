"""Files that come in several requests: whoever is cut off goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ai_services.enrichment.imports import uploads
from ai_services.enrichment.imports.how_to_read import HowToRead
from ai_services.enrichment.imports.receiving import Sent
from ai_services.enrichment.imports.stored_file import PART_BYTES
from ai_services.enrichment.imports.sweep import sweep
from shared.errors import Conflict, NotFound
from tests.ai_services.enrichment.calls_files import as_csv
from tests.ai_services.enrichment.imports.test_uploads_api import WAIT, Sender, calls
from tests.ai_services.enrichment.imports.test_uploads_api import (
    sender as sender,  # noqa: PLC0414 - a fixture
)
from tests.ai_services.enrichment.test_calls_api import config as config  # noqa: PLC0414 - a fixture
from tests.ai_services.enrichment.test_calls_api import until
from tests.ai_services.enrichment.test_importing import KEY, organisation
from tests.ai_services.enrichment.workshop import csv_file


async def begin(sender: Sender, content: bytes = b"", **params: Any) -> str:
    headers = sender.headers(**{"Content-Type": "text/csv", "Upload-Complete": "?0"})
    answer = await sender.client.post(
        "/api/v1/imports", content=content, headers=headers, params=params
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["upload-offset"] == str(len(content))
    assert answer.headers["upload-complete"] == "?0"
    assert "max-size=268435456" in answer.headers["upload-limit"]
    return answer.headers["location"]


async def append(
    sender: Sender, path: str, offset: int, content: Any, *, complete: bool = False
) -> httpx.Response:
    headers = sender.headers(
        **{"Content-Type": uploads.PARTIAL, "Upload-Offset": str(offset)},
        **({"Upload-Complete": "?1", **WAIT} if complete else {"Upload-Complete": "?0"}),
    )
    return await sender.client.patch(path, content=content, headers=headers)


async def offset(sender: Sender, path: str) -> int:
    answer = await sender.client.get(path, headers=sender.headers())
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["upload-offset"] == str(answer.json()["data"]["offset"])
    return int(answer.headers["upload-offset"])


async def test_a_file_comes_in_pieces_of_any_size(sender: Sender) -> None:
    content = as_csv(calls(40_000))
    assert len(content) > 3 * PART_BYTES
    path = await begin(sender, content[:10], name="day.csv")
    at = 10
    for size in (1, 5000, PART_BYTES, 0, PART_BYTES - 5011, PART_BYTES // 2 + 7):
        answer = await append(sender, path, at, content[at : at + size])
        assert answer.status_code == 200, answer.text
        at += size
        assert answer.headers["upload-offset"] == str(at)
        assert await offset(sender, path) == at
    answer = await append(sender, path, at, content[at:], complete=True)
    assert answer.status_code == 200, answer.text
    assert answer.headers["upload-complete"] == "?1"
    assert answer.json()["data"]["inserted"] == 40_000
    (listed,) = (await sender.get("/api/v1/imports"))["imports"]
    assert listed["source"] == "day.csv"
    assert (await sender.kept())[:2] == (0, 0)


async def test_whoever_is_cut_off_goes_on_where_it_was(sender: Sender) -> None:
    content = as_csv(calls(30_000))
    path = await begin(sender)
    sent = 2 * PART_BYTES + 1000

    async def some() -> AsyncIterator[bytes]:
        yield content[:sent]
        await until(arrived)
        raise ConnectionResetError

    async def arrived() -> bool:
        return await offset(sender, path) >= 2 * PART_BYTES

    async def settled() -> bool:
        return await offset(sender, path) == sent

    with pytest.raises(ConnectionResetError):
        await append(sender, path, 0, some())
    await until(settled)  # what was less than a part is kept as well
    answer = await append(sender, path, sent, content[sent:], complete=True)
    assert answer.json()["data"]["inserted"] == 30_000


async def test_another_offset_is_refused_and_told_the_right_one(sender: Sender) -> None:
    path = await begin(sender, b"callid,user")
    for wrong in (0, 10, 12):
        answer = await append(sender, path, wrong, b"x")
        assert answer.status_code == 409
        assert answer.headers["upload-offset"] == "11"
    for header in ("", "x", "-1", "1" * 20):
        headers = sender.headers(**{"Content-Type": uploads.PARTIAL, "Upload-Offset": header})
        assert (await sender.client.patch(path, content=b"x", headers=headers)).status_code == 422
    headers = sender.headers(**{"Content-Type": "text/csv", "Upload-Offset": "11"})
    assert (await sender.client.patch(path, content=b"x", headers=headers)).status_code == 415
    headers = sender.headers(**{"Content-Type": "text/csv", "Upload-Complete": "yes"})
    answer = await sender.client.post("/api/v1/imports", content=b"x", headers=headers)
    assert answer.status_code == 422
    assert await offset(sender, path) == 11


async def test_what_is_no_file_of_calls_is_refused_when_it_is_whole(sender: Sender) -> None:
    path = await begin(sender, b"name,age\n")
    answer = await append(sender, path, 9, b"x,1\n", complete=True)
    assert answer.status_code == 422
    assert "callid" in answer.text
    assert (await sender.client.get(path, headers=sender.headers())).status_code == 404
    assert await sender.kept() == (0, 0, 0, 0)


async def test_no_file_becomes_larger_than_may_be(sender: Sender) -> None:
    path = await begin(sender)
    async with sender.db.system() as tx:
        await tx.execute("UPDATE import_file SET bytes = $1", 256 << 20)
    answer = await append(sender, path, 256 << 20, b"xx")
    assert answer.status_code == 413
    assert await offset(sender, path) == 256 << 20


async def test_one_that_is_whole_says_which_job_has_it(sender: Sender) -> None:
    """Whoever missed the last answer finds it."""
    content = as_csv(calls(3))
    path = await begin(sender)
    done = (await append(sender, path, 0, content, complete=True)).json()["data"]
    answer = await sender.client.get(path, headers=sender.headers())
    assert answer.headers["upload-complete"] == "?1"
    told = answer.json()["data"]
    assert (told["complete"], told["upload_id"]) == (True, done["import_id"])
    (listed,) = (await sender.get("/api/v1/imports"))["imports"]
    assert told["job_id"] == listed["job_id"]
    assert (await append(sender, path, len(content), b"more")).status_code == 409
    assert (await sender.client.delete(path, headers=sender.headers())).status_code == 409


async def test_it_can_be_given_up(sender: Sender) -> None:
    path = await begin(sender, b"callid")
    assert (await sender.client.delete(path, headers=sender.headers())).status_code == 200
    assert await sender.kept() == (0, 0, 0, 0)
    for answer in (
        await sender.client.delete(path, headers=sender.headers()),
        await sender.client.get(path, headers=sender.headers()),
        await append(sender, path, 6, b"x"),
        await sender.client.get("/api/v1/uploads/none", headers=sender.headers()),
    ):
        assert answer.status_code == 404


async def test_a_trial_may_come_in_pieces_as_well(sender: Sender) -> None:
    content = as_csv(calls(3))
    path = await begin(sender, content[:50], dry_run="true")
    data = (await append(sender, path, 50, content[50:], complete=True)).json()["data"]
    assert (data["good"], data["rejected"]) == (3, 0)
    assert await sender.kept() == (0, 0, 0, 0)


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def test_the_same_file_is_the_same_however_it_comes(shop) -> None:
    content = csv_file(9000)
    whole = await shop.send(content)
    begun = await uploads.create(
        shop.db, KEY, shop.org_id, Sent("other.csv", pieces(content[:77]), HowToRead())
    )
    rest = pieces(content[77:])
    assert await uploads.append(shop.db, KEY, shop.org_id, begun, rest, complete=True) == whole
    assert await shop.kept_files() == 1


async def test_two_at_once_leave_one_whole_file(shop) -> None:
    """Each of them ends, or is told that somebody else goes on; nothing is mixed."""
    content = csv_file(20_000)
    begun = await uploads.create(shop.db, KEY, shop.org_id, Sent("a.csv", pieces(), HowToRead()))

    async def send() -> object:
        cut = [content[at : at + 300_000] for at in range(0, len(content), 300_000)]
        return await uploads.append(shop.db, KEY, shop.org_id, begun, pieces(*cut), complete=True)

    ended = await asyncio.gather(*(send() for _ in range(4)), return_exceptions=True)
    jobs = {one for one in ended if isinstance(one, int)}
    assert all(isinstance(one, int | Conflict | NotFound) for one in ended), ended
    if not jobs:  # they have thwarted each other: one goes on alone
        found = await uploads.ask(shop.db, shop.org_id, begun.upload_id)
        rest = pieces(content[found.offset :])
        jobs = {await uploads.append(shop.db, KEY, shop.org_id, found, rest, complete=True)}
    (job_id,) = jobs
    async with shop.working():
        result = await shop.result(job_id)
    assert (result["error"], result["rejected"]) == (None, 200)
    assert result["rows"] == result["inserted"] + result["duplicates"] + result["rejected"]


async def test_what_nobody_goes_on_with_is_deleted(shop) -> None:
    begun = await uploads.create(
        shop.db, KEY, shop.org_id, Sent("a.csv", pieces(b"callid"), HowToRead())
    )
    assert await sweep(shop.db) == 0
    assert await sweep(shop.db, cut_off_s=0) == 1
    with pytest.raises(NotFound):
        await uploads.ask(shop.db, shop.org_id, begun.upload_id)


async def test_nobody_adds_to_what_is_anothers(shop) -> None:
    begun = await uploads.create(
        shop.db, KEY, shop.org_id, Sent("a.csv", pieces(b"callid"), HowToRead())
    )
    other = await organisation(shop.db)
    for org_id, upload_id in ((other, begun.upload_id), (shop.org_id, uuid4())):
        with pytest.raises(NotFound):
            await uploads.ask(shop.db, org_id, upload_id)
        with pytest.raises(NotFound):
            await uploads.append(
                shop.db, KEY, org_id, uploads.Upload(upload_id, 6), pieces(b"x"), complete=False
            )
        with pytest.raises(NotFound):
            await uploads.give_up(shop.db, org_id, upload_id)
