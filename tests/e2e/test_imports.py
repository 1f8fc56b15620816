"""Files of calls through the gateway: as large as the route says, answered as the service answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.ai_services.enrichment.calls_files import as_csv, call
from tests.e2e.real_services import RealServices

_WAIT = {"Prefer": "wait=60", "Content-Type": "text/csv"}


async def send(
    client: httpx.AsyncClient, content: Any, headers: dict[str, str], **params: str
) -> httpx.Response:
    return await client.post(
        "/api/v1/imports", content=content, headers=headers, params=params, timeout=120
    )


async def test_a_file_is_sent_waited_for_and_found(whole: RealServices) -> None:
    rows = [*(call(callid=f"sent-{number}") for number in range(5)), call(callid="..")]
    async with whole.client() as client:
        answer = await send(client, as_csv(rows), _WAIT, name="sent.csv")
        assert answer.status_code == 200, answer.text
        done = answer.json()["data"]
        assert (done["inserted"], done["rejected"]) == (5, 1)
        assert answer.headers["preference-applied"] == "wait=60"
        job = (await client.get(answer.headers["location"])).json()["data"]
        assert (job["name"], job["state"]) == ("import_calls", "succeeded")
        assert job["args"]["import_id"] == done["import_id"]
        listed = (await client.get("/api/v1/imports")).json()["data"]["imports"]
        assert listed[0]["import_id"] == done["import_id"]
        rejects = await client.get(f"/api/v1/imports/{done['import_id']}/rejects")
        assert len(rejects.json()["data"]["rejects"]) == 1
        assert (await client.get("/api/v1/calls/sent-3")).status_code == 200
    async with whole.client_of_others() as client:
        assert (await client.get(answer.headers["location"])).status_code == 404
        assert (await client.get("/api/v1/imports")).json()["data"]["imports"] == []


@pytest.mark.slow
async def test_a_file_larger_than_other_bodies_comes_in_parts(whole: RealServices) -> None:
    """48 MiB, in chunks, of which most is one column that nobody knows."""
    row = as_csv([call(callid="large", filler="x" * (7 << 20))])
    header, line = row.split(b"\n")[:2]

    async def parts() -> AsyncIterator[bytes]:
        yield header + b"\n"
        for number in range(7):
            yield line.replace(b"large", b"large-%d" % number, 1) + b"\n"

    async with whole.client() as client:
        answer = await send(client, parts(), _WAIT)
        assert answer.status_code == 200, answer.text
        done = answer.json()["data"]
        assert (done["inserted"], done["rejected"]) == (7, 0)
        assert "filler" in done["notes"][0]


async def test_what_is_refused_is_refused_alike(whole: RealServices) -> None:
    async with whole.client() as client:
        for content, headers, status in (
            (b"", _WAIT, 422),
            (b"name,age\n", _WAIT, 422),
            (b"x", {"Content-Type": "image/png"}, 415),
            (b"x" * (40 << 20), {"Content-Type": "image/png"}, 415),
            (b"x", {**_WAIT, "Content-Encoding": "gzip"}, 415),
        ):
            answer = await send(client, content, headers)
            assert answer.status_code == status, answer.text
            assert answer.json()["request_id"]


@pytest.mark.slow
async def test_what_comes_in_chunks_ends_at_the_limit(whole: RealServices) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield b"x" * (1 << 20)
            sent += 1

    async with whole.client() as client:
        before = (await client.get("/api/v1/imports")).json()["data"]["imports"]
        try:
            answer = await send(client, endless(), _WAIT)
        except httpx.TransportError:  # cut off while it was still sending
            pass
        else:
            assert answer.status_code == 413
        assert sent >= 255
        assert (await client.get("/api/v1/imports")).json()["data"]["imports"] == before
