"""Bad days of the llm service: budgets that end, stores that are away, files that are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from ai_services.llm.app import create_service
from benchmarks.model_server import ModelServer
from shared.config import Config
from shared.data_access.relational.postgres import Postgres
from shared.security import InternalTokens, Principal
from shared.wire import INTERNAL_TOKEN_HEADER
from tests.ai_services.llm.conftest import MODELS, SECRET, Api
from tests.ai_services.llm.spend.books import Organisation, new_organisation
from tests.ai_services.llm.test_chat_api import PHONE, ask, streamed, text_of
from tests.contract.proxy import proxied

Served = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture
def served(
    organisation: Organisation, llm_database_url: str, redis_url: str, tmp_path: Path
) -> Served:
    """Serve a text of models, with other settings where they are given."""

    @asynccontextmanager
    async def serve(text: str, **other: str) -> AsyncIterator[Api]:
        models = tmp_path / "models.toml"
        models.write_text(text)
        settings = {
            "LOOMA_HOME": str(tmp_path), "DATABASE_URL": llm_database_url, "REDIS_URL": redis_url,
            "INTERNAL_TOKEN_SECRET": SECRET, "SHUTDOWN_SECONDS": "3", "LLM_MODELS": str(models),
            "LLM_KEY_LOOPBACK": "sk-upstream", **other,
        }  # fmt: skip
        async with (
            create_service(Config.from_env(settings)).running(port=0) as url,
            client_of(url, organisation) as api,
        ):
            yield api

    return serve


@asynccontextmanager
async def client_of(url: str, organisation: Organisation) -> AsyncIterator[Api]:
    principal = Principal(organisation.org_id, f"user:{uuid4()}", "analyst", "user")
    headers = {INTERNAL_TOKEN_HEADER: InternalTokens(SECRET.encode()).mint(principal, "llm")}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as http,
        AsyncOpenAI(
            base_url=f"{url}/v1", api_key="unused", default_headers=headers, max_retries=0
        ) as client,
    ):
        yield Api(url, http, client, organisation)


async def test_a_model_without_a_price_today_is_not_asked(
    served: Served, model: ModelServer
) -> None:
    text = MODELS.format(url=model.url).replace("since = 2025-01-01", "since = 2999-01-01")
    async with served(text) as api:
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(api)
        assert (caught.value.status_code, caught.value.code) == (503, "no_price")
        assert model.bills == []
        assert await api.ledger() == []


async def test_a_hard_budget_that_is_spent_is_402_to_the_official_client(
    api: Api, model: ModelServer
) -> None:
    await api.organisation.set_budget("0.000001", period="month")
    with pytest.raises(openai.APIStatusError) as caught:
        await ask(api)
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exceeded")
    assert "has 0.000001 left" in caught.value.message
    assert "it renews at 20" in caught.value.message
    assert model.bills == []


async def test_a_budget_that_becomes_nothing_lets_a_stream_end_and_refuses_the_next(
    api: Api, model: ModelServer
) -> None:
    await api.organisation.set_budget("1")
    model.behave("upstream-gpt", words=20, pause_s=0.02)
    stream = await ask(api, stream=True)
    chunks = [await anext(aiter(stream))]
    await api.organisation.set_budget("0")
    chunks += [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"
    (row,) = await api.ledger()
    assert (row["outcome"], row["source"]) == ("ok", "provider")
    assert row["cost"] > 0
    with pytest.raises(openai.APIStatusError, match=r"has 0 left.*it renews at") as caught:
        await ask(api)
    assert caught.value.status_code == 402
    assert len(model.bills) == 1


LIMITED = """
currency = "USD"

[providers.small]
base_url = "{url}"
key = "LOOPBACK"
requests_per_minute = 1

[providers.large]
base_url = "{url}"
key = "LOOPBACK"

[models.gpt]
deployments = [
  {{ provider = "small", model = "upstream-small", weight = 1000 }},
  {{ provider = "large", model = "upstream-large" }},
]
context = 32768
max_output = 4096
prices = [{{ since = 2025-01-01, input = 1, output = 4 }}]

[limits]
subject = {{ requests_per_minute = 4 }}
"""


async def test_a_providers_limit_sends_requests_elsewhere_and_a_clients_ends_them(
    served: Served, model: ModelServer
) -> None:
    async with served(LIMITED.format(url=model.url)) as api:
        for _ in range(4):
            await ask(api)
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(api)
    assert [bill.model for bill in model.bills].count("upstream-small") <= 1
    assert len(model.bills) == 4
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60


async def ask_on(api: Api) -> None:
    """One request is over the limit; where Redis was slow, some before were counted apart."""
    for _ in range(2 * 4):
        await ask(api)


async def test_a_request_that_finds_no_place_counts_where_it_is_answered(
    served: Served, model: ModelServer
) -> None:
    models = LIMITED.format(url=model.url).replace("requests_per_minute = 1\n", "concurrency = 1\n")
    model.behave("upstream-small", words=1000, pause_s=0.05)
    async with served(models) as api, await ask(api, stream=True) as holding:
        await anext(aiter(holding))
        for _ in range(3):
            await ask(api)
        with pytest.raises(openai.RateLimitError):
            await ask_on(api)
    assert [bill.model for bill in model.bills].count("upstream-large") >= 3


async def test_a_stream_whose_connection_ends_with_it_is_whole(served: Served) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        choice = {"index": 0, "delta": {"content": "all"}, "finish_reason": "stop"}
        said = b"data: %b\n\ndata: [DONE]\n\n" % orjson.dumps({"id": "1", "choices": [choice]})
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked"
        writer.write(b"%b\r\n\r\n%x\r\n%b\r\n" % (head, len(said), said))  # no last chunk
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as provider:
        url = f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}/v1"
        async with served(MODELS.format(url=url)) as api:
            for _ in range(8):  # more failures than a circuit bears
                chunks = [chunk async for chunk in await ask(api, stream=True)]
                assert chunks[-1].choices[0].finish_reason == "stop"


async def test_organisations_see_nothing_of_each_other(
    api: Api, db: Postgres, model: ModelServer
) -> None:
    other = await new_organisation(db)
    await other.set_budget("0")
    await ask(api)
    await api.ledger()
    async with client_of(api.url, other) as theirs:
        with pytest.raises(openai.APIStatusError, match="has 0 left"):
            await ask(theirs)
        costs = (await theirs.http.get("/api/v1/costs")).json()["data"]
        budgets = (await theirs.http.get("/api/v1/budgets")).json()["data"]["budgets"]
    assert costs["total"]["attempts"] == 0
    assert [budget["amount"] for budget in budgets] == ["0.00000000"]
    assert (await api.http.get("/api/v1/budgets")).json()["data"]["budgets"] == []
    assert (await api.http.get("/api/v1/costs")).json()["data"]["total"]["attempts"] == 1
    assert len(model.bills) == 1


async def test_without_postgres_no_model_is_asked(
    served: Served, llm_database_url: str, model: ModelServer
) -> None:
    async with (
        proxied(llm_database_url) as (url, proxy),
        served(MODELS.format(url=model.url), DATABASE_URL=url) as api,
    ):
        await ask(api)
        await api.ledger()
        await proxy.cut()
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as caught:
                await ask(api, stream=stream)
            assert caught.value.status_code == 503
        assert len(model.bills) == 1
        await proxy.start()


async def test_without_redis_answers_go_on(
    served: Served, redis_url: str, model: ModelServer
) -> None:
    async with (
        proxied(redis_url) as (url, proxy),
        served(LIMITED.format(url=model.url), REDIS_URL=url) as api,
    ):
        await proxy.cut()
        kept = {"X-Cache-Seconds": "60"}
        for _ in range(2):
            answer = await ask(api, extra_headers=kept)
            assert answer.choices[0].message.content == "You said: hello"
        assert len(model.bills) == 2  # nothing was kept
        page = (await api.http.get("/metrics")).text
        assert 'llm_limits_degraded{service="llm"} 1.0' in page or "llm_limits_degraded 1.0" in page
        await proxy.start()


async def test_a_models_file_that_becomes_wrong_changes_nothing_and_is_told(
    api: Api, tmp_path: Path
) -> None:
    models = tmp_path / "models.toml"
    models.write_text(models.read_text().replace("context = 32768", "context = 0"))
    async with asyncio.timeout(15):
        while True:
            ready = await api.http.get("/ready")
            if "context" in ready.text:
                break
            await asyncio.sleep(0.1)
    assert ready.status_code == 200
    assert (await ask(api)).choices[0].message.content == "You said: hello"


async def test_a_prompt_of_a_megabyte_is_answered(api: Api, model: ModelServer) -> None:
    long = "字" * 350_000
    for stream in (False, True):
        messages = [{"role": "user", "content": long}]
        await (streamed(api, messages=messages) if stream else ask(api, messages=messages))
    assert [body["messages"][0]["content"] == long for body in model.bodies] == [True, True]
    assert [row["input_tokens"] for row in await api.ledger()] == [
        bill.input for bill in model.bills
    ]


async def test_arguments_of_a_streamed_tool_call_have_their_values_again(
    api: Api, model: ModelServer
) -> None:
    model.behave("upstream-gpt", tool_call='{"phone": "[PHONE_1]", "say": "您好"}')
    tools: Any = [{"type": "function", "function": {"name": "call", "parameters": {}}}]
    chunks = await streamed(
        api, tools=tools, messages=[{"role": "user", "content": f"call {PHONE}"}]
    )
    arguments = "".join(
        call.function.arguments or ""
        for chunk in chunks
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    )
    assert arguments == f'{{"phone": "{PHONE}", "say": "您好"}}'
    assert PHONE not in str(model.bodies)


async def rest_of(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


async def test_a_service_that_ends_lets_streams_end_and_settles_them(
    served: Served, model: ModelServer
) -> None:
    model.behave("upstream-gpt", words=30, pause_s=0.02)
    async with AsyncExitStack() as clients:
        async with served(MODELS.format(url=model.url)) as serving:
            api = await clients.enter_async_context(client_of(serving.url, serving.organisation))
            stream = await ask(api, stream=True)
            chunks = [await anext(aiter(stream))]
            reading = asyncio.create_task(rest_of(stream))
        chunks += await asyncio.wait_for(reading, 1)  # its end is what the service has waited for
    assert text_of(chunks).endswith("word29")
    (row,) = await api.ledger()
    assert (row["outcome"], row["source"]) == ("ok", "provider")
    assert row["cost"] == Decimal(row["input_tokens"] + 4 * row["output_tokens"]) / 1_000_000
