"""Neo4j, Weaviate and Elasticsearch stopped and killed under load.

What needs the store that is away is answered with 503 in the envelope, soon; everything else goes
on; afterwards the projections catch up by themselves and nothing is lost.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Self

import httpx
import pytest

from tests.e2e.platform import Platform, until
from tests.e2e.test_real_servers import real_servers, waiting

pytestmark = pytest.mark.slow
STOPPED_S = 8
SOON_S = 5  # a first hang of 2 s and what the gateway adds, on a machine that has other work


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with TemporaryDirectory(prefix="looma-test-", ignore_cleanup_errors=True) as folder:
        built = Platform(Path(folder) / "home", tmp_path)
        built.env |= real_servers()
        built.up()
        yield built
        built.interrupt()
        for process in built.left_over():
            process.kill()


def pids() -> dict[str, int]:
    found = dict(pair.split("=") for pair in os.environ.get("SERVERS_PIDS", "").split())
    if not found:
        pytest.skip("SERVERS_PIDS is not set: name=pid of each server, separated by spaces")
    return {name: int(pid) for name, pid in found.items()}


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Writer:
    """Posts a call after the other, and remembers which were acknowledged."""

    def __init__(self, platform: Platform, token: str) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self._client = platform.client(token)
        self._ended = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        for number in itertools.count():
            if self._ended.wait(0.05):
                return
            call = record(f"c{number}")
            answer = self._client.post("/api/v1/calls", json={"records": [call]})
            if answer.status_code == 200 and not answer.json()["data"]["rejected"]:
                self.acknowledged.append(call["callid"])
            else:
                self.refused.append(answer.status_code)


def record(callid: str) -> dict[str, object]:
    return {
        "callid": callid,
        "task_id": "t1",
        "user_id": "u1",
        "customer_id": "k1",
        "started_at": "2024-12-02T10:00:00+08:00",
        "duration_ms": 60000,
        "call_status": "connected",
        "turns": [{"role": "customer", "at_ms": 0, "text": f"refund {callid}"}],
    }


def searched(client: httpx.Client) -> tuple[int, float]:
    began = time.monotonic()
    answer = client.get("/api/v1/calls/search", params={"q": "refund"})
    if answer.status_code == 503:
        assert answer.json()["error"] in ("store_unavailable", "upstream_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    return answer.status_code, time.monotonic() - began


def found(client: httpx.Client) -> set[str]:
    """Every call that search finds, page after page."""
    hits: set[str] = set()
    query: dict[str, str] = {"q": "refund", "limit": "100"}
    for _ in range(1000):
        answer = client.get("/api/v1/calls/search", params=query)
        if answer.status_code != 200:
            return set()
        page = answer.json()["data"]
        hits |= {hit["callid"] for hit in page["hits"]}
        if not page["next_cursor"]:
            break
        query["cursor"] = page["next_cursor"]
    return hits


@pytest.mark.parametrize("server", ["neo4j", "weaviate", "elasticsearch"])
def test_a_server_that_stands_still_costs_what_needs_it_only(platform: Platform, server: str):
    pid, token = pids()[server], platform("token").strip()
    with platform.client(token) as client, Writer(platform, token) as writer:
        assert until(lambda: len(writer.acknowledged) > 5, 30), writer.refused
        assert until(lambda: searched(client)[0] == 200, 30)
        with stopped(pid):
            began, before = time.monotonic(), len(writer.acknowledged)
            answers = []
            while time.monotonic() - began < STOPPED_S:
                answers.append(searched(client))
                time.sleep(0.2)
            during = len(writer.acknowledged) - before
        assert during > 0, "writes don't need it"
        assert {status for status, _ in answers} <= {200, 503}
        assert max(seconds for _, seconds in answers) < SOON_S
        if server == "elasticsearch":
            assert answers[-1][0] == 503
        else:
            assert {status for status, _ in answers} == {200}
    assert writer.refused == []
    with platform.client(token) as client:
        assert until(lambda: waiting(platform) == {(0, 0)}, 60), platform.json("status")["outbox"]
        assert until(lambda: found(client) >= set(writer.acknowledged), 60)
