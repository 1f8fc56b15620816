"""Posted records as the service takes them: its answer names each, and nobody waits for a large one."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

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
        json.dumps(record("c", rounds=[1])),
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
