"""A gateway that stood still itself, stopped or on a machine that was, blames nobody for it."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from gateway.timeouts import StallGuard, Timeouts
from gateway.upstream.instance import Exchange, Instance
from shared.errors import UpstreamTimeout
from tests.gateway.gateway_process import gateway_process
from tests.gateway.quick_service import quick_service
from tests.gateway.wire import json_answer

ROUTES = """
[enrichment]
routes = [{ method = "GET", path = "/open", scope = "public" }]
[services.enrichment]
health = false
"""


@pytest.mark.parametrize(
    ("late", "counts"),
    [
        ([0.0, 0.05, 0.0], [True, True, True]),  # busy, no more
        ([20.0, 0.0], [False, True]),
        ([20.0, 0.0, 20.0, 0.0], [False, True, False, True]),
        ([0.5, 0.5, 0.5, 0.5], [False, True, False, True]),  # always late: deadlines hold
    ],
)
def test_a_check_after_a_stall_is_put_off_once(late: list[float], counts: list[bool]) -> None:
    guard = StallGuard()
    assert [guard.counts(seconds) for seconds in late] == counts


class Service:
    """One that answers its only request when it is told to, from a thread of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked, self.go, self.answered = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        with self._listener.accept()[0] as client:
            client.recv(65_536)
            self.asked.set()
            self.go.wait(30)
            client.sendall(json_answer({}))
            self.answered.set()
            client.recv(1)  # until the other side hangs up


@pytest.mark.slow
async def test_an_answer_that_came_during_a_stall_is_not_late() -> None:
    with Service() as service:
        instance = Instance(service.url, "one", 5)
        opening = asyncio.create_task(instance.open(Exchange("GET", "/", "", timeout=0.3)))
        assert await asyncio.to_thread(service.asked.wait, 10)
        service.go.set()
        time.sleep(1)  # noqa: ASYNC251 - all of the process stands still
        assert service.answered.wait(10)
        connection = await opening
        assert connection.status == 200
        await instance.close(connection)
        instance.retire()


async def test_no_answer_is_late_after_a_stall_too() -> None:
    with Service() as service:
        instance = Instance(service.url, "one", 5)
        opening = asyncio.create_task(instance.open(Exchange("GET", "/", "", timeout=0.3)))
        assert await asyncio.to_thread(service.asked.wait, 10)
        time.sleep(1)  # noqa: ASYNC251 - all of the process stands still
        with pytest.raises(UpstreamTimeout):
            await opening
        instance.retire()


@pytest.mark.slow
@pytest.mark.parametrize("client_stopped", [False, True])
async def test_a_client_of_a_stopped_gateway_is_answered(
    tmp_path: Path, redis_at: str, free_port: int, *, client_stopped: bool
) -> None:
    """Stopped for longer than a client has for its head, perhaps together with the client."""
    async with (
        quick_service() as service,
        gateway_process(
            tmp_path,
            free_port,
            routes=ROUTES,
            upstreams={"auth": service, "enrichment": service},
            REDIS_URL=redis_at,
        ) as gateway,
    ):
        connections = [await asyncio.open_connection("127.0.0.1", free_port) for _ in range(20)]
        try:
            await asyncio.sleep(0.5)  # all are accepted
            gateway.tell(signal.SIGSTOP)
            if client_stopped:
                await asyncio.sleep(Timeouts().head + 2)
                gateway.tell(signal.SIGCONT)
                await asyncio.sleep(0.01)
            for _, writer in connections:
                writer.write(b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n")
            if not client_stopped:
                await asyncio.sleep(Timeouts().head + 2)
                gateway.tell(signal.SIGCONT)
            for reader, _ in connections:
                line = await asyncio.wait_for(reader.readline(), 10)
                assert line.startswith(b"HTTP/1.1 200"), line
        finally:
            gateway.tell(signal.SIGCONT)
            for _, writer in connections:
                writer.close()
