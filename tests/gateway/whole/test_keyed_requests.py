"""Requests with an Idempotency-Key on their way through a gateway."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from tests.contract.proxy import proxied
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.wire import Behaviour, Received, answer, echo

ROUTES = """
[enrichment]
routes = [
  { method = "POST", path = "/things", scope = "calls:write" },
  { method = "PUT", path = "/things/{id}", scope = "calls:write" },
  { method = "PATCH", path = "/things/{id}", scope = "calls:write" },
  { method = "DELETE", path = "/things/{id}", scope = "calls:write" },
  { method = "POST", path = "/orders", scope = "calls:write", idempotent = "required" },
  { method = "POST", path = "/own", scope = "calls:write", idempotent = false },
  { method = "POST", path = "/told", scope = "calls:write", stream = true },
]
"""
TOO_LARGE = 32 * 2**20 + 1


class Spans(SpanProcessor):
    """How many spans of one trace have begun and ended; the process has others."""

    def __init__(self, trace_id: int) -> None:
        self.trace_id = trace_id
        self.counted: Counter[str] = Counter()

    def on_start(self, span: Span, parent_context: object = None) -> None:
        del parent_context
        self.counted["begun"] += span.get_span_context().trace_id == self.trace_id

    def on_end(self, span: ReadableSpan) -> None:
        self.counted["ended"] += span.get_span_context().trace_id == self.trace_id


@pytest.fixture
def routes(tmp_path: Path) -> str:
    path = tmp_path / "routes.toml"
    path.write_text(ROUTES)
    return str(path)


@pytest.fixture
async def keyed(tmp_path: Path, redis_at: str, routes: str) -> AsyncIterator[Platform]:
    async with platform_in(tmp_path, REDIS_URL=redis_at, GATEWAY_ROUTES=routes) as running:
        yield running


def with_key(platform: Platform, key: str = "") -> dict[str, str]:
    return {**platform.auth.bearer(), "Idempotency-Key": key or str(uuid4())}


async def test_what_can_be_sent_again_anyway_goes_through_with_its_key(keyed: Platform) -> None:
    for method in ("PUT", "DELETE"):
        keyed.enrichment.requests.clear()
        headers = with_key(keyed)
        for _ in range(2):
            got = await keyed.client.request(method, "/things/1", headers=headers)
            assert got.status_code == 200
            assert "idempotent-replayed" not in got.headers
        seen = [one.header("idempotency-key") for one in keyed.enrichment.requests]
        assert seen == [headers["Idempotency-Key"]] * 2


@pytest.mark.parametrize(("method", "path"), [("POST", "/things"), ("PATCH", "/things/1")])
async def test_what_can_not_is_carried_out_once(keyed: Platform, method: str, path: str) -> None:
    headers = with_key(keyed)
    for replayed in (None, "true"):
        got = await keyed.client.request(method, path, json={"a": 1}, headers=headers)
        assert got.headers.get("idempotent-replayed") == replayed
    assert len(keyed.enrichment.requests) == 1


async def test_a_service_that_honours_keys_itself_gets_them(keyed: Platform) -> None:
    headers = with_key(keyed, "~" * 300)  # whatever it takes for one
    for _ in range(2):
        assert (await keyed.client.post("/own", headers=headers)).status_code == 200
    assert len(keyed.enrichment.requests) == 2


async def test_a_stream_flows_and_its_key_goes_to_the_service(keyed: Platform) -> None:
    go_on = asyncio.Event()

    async def tell(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await writer.drain()
        await go_on.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await writer.drain()

    keyed.behave(tell)
    headers = with_key(keyed)
    async with keyed.client.stream("POST", "/told", json={}, headers=headers) as got:
        parts = got.aiter_raw()
        assert await anext(parts) == b"one"  # before the service has said all
        go_on.set()
        assert b"".join([part async for part in parts]) == b"two"
    assert keyed.enrichment.last.header("idempotency-key") == headers["Idempotency-Key"]


async def test_a_route_may_insist_on_a_key(keyed: Platform) -> None:
    got = await keyed.client.post("/orders", headers=keyed.auth.bearer())
    assert (got.status_code, got.json()["error"]) == (422, "invalid_input")
    (detail,) = got.json()["details"]
    assert (detail["field"], detail["problem"]) == ("Idempotency-Key", "is missing")
    assert keyed.enrichment.requests == []
    headers = with_key(keyed)
    for _ in range(2):
        assert (await keyed.client.post("/orders", headers=headers)).status_code == 200
    assert len(keyed.enrichment.requests) == 1


async def test_without_redis_nothing_is_carried_out_where_a_key_is_required(
    tmp_path: Path, redis_at: str, routes: str
) -> None:
    async with (
        proxied(redis_at) as (url, proxy),
        platform_in(tmp_path, REDIS_URL=url, GATEWAY_ROUTES=routes) as own,
    ):
        await proxy.cut()
        got = await own.client.post("/orders", headers=with_key(own))
        assert (got.status_code, got.json()["error"]) == (503, "store_unavailable")
        assert "nothing was carried out" in got.json()["message"]
        assert own.enrichment.requests == []
        assert (await own.client.post("/things", headers=with_key(own))).status_code == 200


def large() -> Behaviour:
    body = bytes(TOO_LARGE)

    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(201, body, "application/octet-stream"))
        await writer.drain()

    return behave


async def breaking_off(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(201, b"1234")[:-1])
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("behaviour", [large(), breaking_off], ids=["too large", "broken off"])
async def test_work_whose_answer_is_lost_is_not_done_again(
    keyed: Platform, behaviour: Behaviour
) -> None:
    keyed.behave(behaviour)
    headers = with_key(keyed)
    first = await keyed.client.post("/things", json={}, headers=headers)
    assert (first.status_code, first.json()["error"]) == (502, "bad_gateway")
    assert "was carried out" in first.json()["message"]
    keyed.enrichment.behaviour = echo
    again = await keyed.client.post("/things", json={}, headers=headers)
    assert again.status_code == 409
    assert "was carried out, but its answer was not kept" in again.json()["message"]
    assert len(keyed.enrichment.requests) == 1


async def test_a_failure_that_is_lost_leaves_the_key_free(keyed: Platform) -> None:
    async def failing(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(500, b"1234")[:-1])
        await writer.drain()
        writer.close()

    keyed.behave(failing)
    headers = with_key(keyed)
    assert (await keyed.client.post("/things", json={}, headers=headers)).status_code == 502
    keyed.enrichment.behaviour = echo
    assert (await keyed.client.post("/things", json={}, headers=headers)).status_code == 200


async def test_a_passing_failure_says_when_to_come_back(keyed: Platform) -> None:
    async def away(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(503, b"{}", headers={"Retry-After": "7"}))
        await writer.drain()

    keyed.behave(away)
    got = await keyed.client.post("/things", headers=with_key(keyed))
    assert (got.status_code, got.headers["retry-after"]) == (503, "7")


async def test_every_span_that_begins_ends(tmp_path: Path, redis_at: str, routes: str) -> None:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    spans = Spans(uuid4().int)
    provider.add_span_processor(spans)
    async with platform_in(
        tmp_path, REDIS_URL=redis_at, GATEWAY_ROUTES=routes, OTLP_ENDPOINT="http://127.0.0.1:9"
    ) as own:
        headers = with_key(own) | {"traceparent": f"00-{spans.trace_id:032x}-{1:016x}-01"}
        for body, status in ((b"a", 200), (b"a", 200), (b"b", 409)):
            got = await own.client.post("/things", content=body, headers=headers)
            assert got.status_code == status
    assert spans.counted["begun"] == spans.counted["ended"] > 3  # those of Redis with them
