"""Posted records as the service takes them: its answer names each, and nobody waits for a large one."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from ai_services.enrichment.schemas import in_turn
from shared.config import Config
from tests.ai_services.enrichment.records import TURNS, record
from tests.ai_services.enrichment.test_calls_api import Api, api, config

__all__ = ["api", "config"]  # fixtures


async def post(api: Api, *records: str) -> Any:
    body = '{"records":[' + ",".join(records) + "]}"
    answer = await api.request("POST", "/api/v1/calls", content=body.encode())
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


class Ticker:
    """How long the loop kept others waiting at most."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now


async def test_each_result_names_its_record(api: Api) -> None:
    data = await post(
        api,
        json.dumps(record("a")),
        json.dumps(record(" b ", call_status="odd")),
        json.dumps(record("c", duration_ms=[1])),
        json.dumps(record(7, call_status="odd")),
        json.dumps(record("x" * 65)),
        json.dumps(record(True)),
        '"callid"',
        json.dumps(record("a", turns=TURNS)),
    )
    assert [(one["callid"], one["status"]) for one in data["results"]] == [
        ("a", "duplicate"), ("b", "rejected"), ("c", "rejected"), ("7", "rejected"),
        (None, "rejected"), (None, "rejected"), (None, "rejected"), ("a", "inserted"),
    ]  # fmt: skip


async def test_what_was_left_out_of_a_record_is_told_with_it(api: Api) -> None:
    data = await post(
        api,
        json.dumps(record("a", phone="anonymous", level_name="A级")),
        json.dumps(record("b", hangup_by=0, turns="hello")),
        json.dumps(record("c")),
    )
    assert [one["status"] for one in data["results"]] == ["inserted"] * 3
    assert [[note["field"] for note in one["notes"]] for one in data["results"]] == [
        ["phone"], ["hangup_by", "turns"], [],
    ]  # fmt: skip
    assert data["noted"] == {"phone": 1, "hangup_by": 1, "turns": 1}
    assert data["import_id"] is None
    call = (await api.get("/api/v1/calls/a")).json()["data"]
    assert (call["phone"], call["level_name"]) == (None, "A")


async def test_records_of_one_callid_that_contradict_each_other_are_named(api: Api) -> None:
    data = await post(
        api,
        json.dumps(record("a", duration_ms=65_000)),
        json.dumps(record("a", duration_ms=1_000)),
        json.dumps(record("b")),
        json.dumps(record("b")),
    )
    assert data["duplicates"] == 2
    [told] = data["results"][1]["notes"]
    assert "line 1" in told["problem"]
    assert "duration_ms" in told["problem"]
    assert data["noted"] == {"callid": 1}


@pytest.mark.parametrize("written", ["\x0b", "\x0c", "\x1c", "\x85", "\x00"])
async def test_what_is_no_blank_in_json_is_a_rejected_record(api: Api, written: str) -> None:
    data = await post(api, written, json.dumps(record("a")))
    assert [one["status"] for one in data["results"]] == ["rejected", "inserted"]


async def test_the_loop_goes_on_while_a_large_bad_record_is_read(api: Api) -> None:
    numbers = ",".join(["1.5"] * 1_500_000)
    ticker = Ticker()
    running = asyncio.create_task(ticker.run())
    data = await post(api, f'{{"callid": "c", "x": [{numbers}]}}', json.dumps(record("a")))
    running.cancel()
    assert [one["status"] for one in data["results"]] == ["rejected", "inserted"]
    assert ticker.longest < 1.0  # 2 s and more where it was read on the loop


async def test_an_import_whose_rejects_can_not_be_kept_is_none(api: Api, config: Config) -> None:
    async with failing_rejects(config):
        records = [record("a"), record("b", call_status="odd")]
        answer = await api.request("POST", "/api/v1/calls", json={"records": records})
        assert answer.status_code >= 500
    assert (await api.get("/api/v1/imports")).json()["data"]["imports"] == []
    assert (await api.get("/api/v1/calls/a")).status_code == 404
    data = await post(api, *map(json.dumps, records))
    assert [one["status"] for one in data["results"]] == ["inserted", "rejected"]
    (kept,) = (await api.get("/api/v1/imports")).json()["data"]["imports"]
    assert kept["finished_at"] is not None


@asynccontextmanager
async def failing_rejects(config: Config) -> AsyncIterator[None]:
    """The database takes no rejected row for as long."""
    assert config.database_url
    owner = await asyncpg.connect(config.database_url)
    await owner.execute(
        "ALTER TABLE import_reject ADD CONSTRAINT full_disk CHECK (false) NOT VALID"
    )
    try:
        yield
    finally:
        await owner.execute("ALTER TABLE import_reject DROP CONSTRAINT full_disk")
        await owner.close()


async def test_a_long_transcript_is_shown_masked(api: Api) -> None:
    turns = [{"role": "agent", "at_ms": 0, "text": "(0)" * 66 + "x 13812348000"}] * 4_600
    await post(api, json.dumps(record("long", turns=turns)))
    shown = (await api.get("/api/v1/calls/long")).json()["data"]["turns"]
    assert {turn["text"] for turn in shown} == {"(0)" * 66 + "x 138****8000"}


@pytest.mark.parametrize(("chars", "here"), [(0, True), (1_000_000, False)])
async def test_much_text_is_shown_off_the_loop(chars: int, here: bool) -> None:
    shown_by = await in_turn(lambda _: threading.get_ident(), None, chars)
    assert (shown_by == threading.get_ident()) is here
