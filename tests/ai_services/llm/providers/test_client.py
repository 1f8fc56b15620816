"""One attempt at a provider that does what providers do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import orjson
import pytest
from opentelemetry.trace import SpanKind

from ai_services.llm.models.catalogue import Deployment
from ai_services.llm.providers.client import ANSWER_LIMIT, Providers, opened_providers
from ai_services.llm.providers.outcome import ProviderFailure
from benchmarks.model_server import ModelServer, model_server
from tests.ai_services.llm.catalogues import provider
from tests.spans import ended_spans

PATH = "/chat/completions"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with model_server(key="sk-test") as running:
        yield running


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with opened_providers() as opened:
        yield opened


def body(**fields: Any) -> bytes:
    message = {"role": "user", "content": "hello"}
    return orjson.dumps({"model": "m", "messages": [message], **fields})


async def whole(providers: Providers, server: ModelServer, **fields: Any) -> Any:
    deployment = Deployment(provider(server.url, **fields), "m")
    return orjson.loads(await providers.whole(deployment, PATH, body(), uuid4()))


async def streamed(providers: Providers, server: ModelServer, **fields: Any) -> bytes:
    deployment = Deployment(provider(server.url, **fields), "m")
    async with providers.stream(deployment, PATH, body(stream=True), uuid4()) as parts:
        return b"".join([part async for part in parts])


async def failed(providers: Providers, server: ModelServer, **fields: Any) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await whole(providers, server, **fields)
    return caught.value


async def test_an_answer_comes_whole_and_the_attempt_is_named(
    providers: Providers, server: ModelServer
) -> None:
    attempt = uuid4()
    deployment = Deployment(provider(server.url), "m")
    answer = orjson.loads(await providers.whole(deployment, PATH, body(), attempt))
    assert answer["choices"][0]["message"]["content"] == "You said: hello"
    assert [bill.attempt for bill in server.bills] == [str(attempt)]


async def test_a_stream_comes_to_its_end(providers: Providers, server: ModelServer) -> None:
    assert (await streamed(providers, server)).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("status", "code", "kind", "outcome"),
    [
        (400, None, "request", "error"),
        (400, "context_length_exceeded", "context", "error"),
        (400, "content_filter", "refused", "refused"),
        (401, "invalid_api_key", "setup", "error"),
        (402, None, "quota", "error"),
        (403, None, "setup", "error"),
        (404, "model_not_found", "setup", "error"),
        (429, None, "limited", "rate_limited"),
        (429, "insufficient_quota", "quota", "error"),
        (500, None, "unavailable", "error"),
        (503, None, "unavailable", "error"),
        (529, None, "unavailable", "error"),
    ],
)
async def test_what_a_status_means(
    providers: Providers,
    server: ModelServer,
    status: int,
    code: str | None,
    kind: str,
    outcome: str,
) -> None:
    server.behave("m", status=status, code=code)
    failure = await failed(providers, server)
    assert (failure.kind, failure.outcome, failure.billed) == (kind, outcome, False)


@pytest.mark.parametrize(
    ("said", "waits"),
    [("7", 7.0), (None, None), ("soon", None), ("99999999", 3600.0), ("-3", None)],
)
async def test_retry_after_is_read_and_bounded(
    providers: Providers, server: ModelServer, said: str | None, waits: float | None
) -> None:
    server.behave("m", status=429, retry_after=said)
    assert (await failed(providers, server)).retry_after == waits


async def test_a_retry_after_may_be_a_date(providers: Providers, server: ModelServer) -> None:
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    server.behave("m", status=503, retry_after=later)
    waits = (await failed(providers, server)).retry_after
    assert waits is not None
    assert 25 < waits <= 30


async def test_an_error_that_is_none_is_told_without_its_content(
    providers: Providers, server: ModelServer
) -> None:
    server.behave("m", status=400, raw="<html>secret</html>")
    assert "secret" not in (await failed(providers, server)).message


async def test_one_who_hangs_is_given_up_and_may_have_charged(
    providers: Providers, server: ModelServer
) -> None:
    server.behave("m", hang=True)
    failure = await failed(providers, server, total_s=0.3)
    assert (failure.outcome, failure.billed, failure.begun) == ("timeout", True, False)
    assert not failure.repeatable


async def test_a_stream_that_pauses_too_long_is_given_up(
    providers: Providers, server: ModelServer
) -> None:
    server.behave("m", pause_s=5.0)
    with pytest.raises(ProviderFailure) as caught:
        await streamed(providers, server, idle_s=0.2)
    assert (caught.value.outcome, caught.value.begun) == ("timeout", True)


async def test_half_an_answer_is_none(providers: Providers, server: ModelServer) -> None:
    server.behave("m", break_after=20)
    failure = await failed(providers, server)
    assert (failure.outcome, failure.billed, failure.begun) == ("broken", True, True)


async def test_a_stream_that_is_cut_off_fails(providers: Providers, server: ModelServer) -> None:
    server.behave("m", words=50, break_after=3)
    with pytest.raises(ProviderFailure) as caught:
        await streamed(providers, server)
    assert (caught.value.outcome, caught.value.begun) == ("broken", True)


async def test_a_stream_that_is_no_stream_fails(providers: Providers, server: ModelServer) -> None:
    deployment = Deployment(provider(server.url), "m")
    with pytest.raises(ProviderFailure, match="application/json"):
        async with providers.stream(deployment, PATH, body(), uuid4()):
            pytest.fail("it was taken for one")


async def test_nobody_there_can_be_asked_again(providers: Providers) -> None:
    deployment = Deployment(provider("http://127.0.0.1:9/v1"), "m")
    with pytest.raises(ProviderFailure) as caught:
        await providers.whole(deployment, PATH, body(), uuid4())
    assert (caught.value.billed, caught.value.repeatable) == (False, True)


async def test_ten_megabytes_are_read_and_more_than_the_limit_are_not(
    providers: Providers, server: ModelServer
) -> None:
    server.behave("m", text="x" * (10 << 20), times=1)
    answer = await whole(providers, server)
    assert len(answer["choices"][0]["message"]["content"]) == 10 << 20
    server.behave("m", raw="x" * (ANSWER_LIMIT + 1))
    assert (await failed(providers, server)).outcome == "broken"


async def test_who_goes_away_takes_the_request_along(
    providers: Providers, server: ModelServer
) -> None:
    server.behave("m", words=10_000, pause_s=0.01)
    deployment = Deployment(provider(server.url), "m")
    async with providers.stream(deployment, PATH, body(stream=True), uuid4()) as parts:
        await anext(aiter(parts))
    billed = server.bills[-1].output
    await asyncio.sleep(0.2)
    assert server.bills[-1].output <= billed + 20
    assert not server.bills[-1].ended


async def test_an_attempt_has_a_span_that_tells_nothing_of_what_was_asked(
    providers: Providers, server: ModelServer
) -> None:
    with ended_spans() as ended:
        await streamed(providers, server)
        server.behave("m", status=500)
        await failed(providers, server)
    good, bad = ended.spans
    assert (good.name, good.kind) == ("chat m", SpanKind.CLIENT)
    assert good.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider().name,
        "gen_ai.request.model": "m",
    }
    assert good.status.is_unset
    assert not bad.status.is_ok
    assert bad.attributes["error.type"].endswith("ProviderFailure")


async def test_keys_are_not_shown() -> None:
    assert "sk-test" not in repr(provider())


@pytest.mark.parametrize("ends", ["closes", "hangs"])
async def test_an_error_whose_body_does_not_come_is_told_by_its_status(
    providers: Providers, ends: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Away\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        if ends == "hangs":
            await asyncio.sleep(7)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        deployment = Deployment(provider(url), "m")
        with pytest.raises(ProviderFailure) as caught:
            await providers.whole(deployment, PATH, body(), uuid4())
    failure = caught.value
    assert (failure.kind, failure.billed, failure.repeatable) == ("unavailable", False, True)


async def test_a_connection_is_used_again_after_a_stream(server: ModelServer) -> None:
    async with opened_providers() as providers:
        for _ in range(3):
            await streamed(providers, server)
        connector = providers._session.connector
        assert sum(len(idle) for idle in connector._conns.values()) == 1
