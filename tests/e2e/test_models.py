"""Language models through the gateway, with nothing of a client changed but its base URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.e2e.real_services import MODEL, RealServices

HELLO: Any = [{"role": "user", "content": "你好"}]


class Mood(BaseModel):
    sentiment: str
    score: float


@pytest.fixture
async def client(whole: RealServices) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{whole.url}/v1", api_key=whole.key, max_retries=0) as one:
        yield one


async def test_an_answer_comes_whole(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == "You said: 你好"


async def test_the_client_that_waits_works_as_well(whole: RealServices) -> None:
    def ask() -> str | None:
        with OpenAI(base_url=f"{whole.url}/v1", api_key=whole.key) as client:
            answer = client.chat.completions.create(model=MODEL, messages=HELLO)
        return answer.choices[0].message.content

    assert await asyncio.to_thread(ask) == "You said: 你好"


async def test_an_answer_comes_in_parts_as_they_are_written(
    client: AsyncOpenAI, whole: RealServices
) -> None:
    whole.model.behave(MODEL, words=20, pause_s=0.02, times=1)
    times = []
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    text = ""
    async for chunk in stream:
        times.append(asyncio.get_running_loop().time())
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert text.startswith("word0 word1")
    assert times[-1] - times[0] > 0.2  # not kept back until the end


async def test_structured_outputs_are_parsed_by_the_client(
    client: AsyncOpenAI, whole: RealServices
) -> None:
    whole.model.behave(MODEL, text='{"sentiment": "negative", "score": 0.1}', times=1)
    answer = await client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Mood)
    assert answer.choices[0].message.parsed == Mood(sentiment="negative", score=0.1)


async def test_models_are_listed(client: AsyncOpenAI) -> None:
    assert [one.id async for one in client.models.list()] == [MODEL]


async def test_refusals_of_the_gateway_are_what_clients_know(whole: RealServices) -> None:
    async with AsyncOpenAI(
        base_url=f"{whole.url}/v1", api_key="looma_wrong", max_retries=0
    ) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            await stranger.chat.completions.create(model=MODEL, messages=HELLO)
    assert caught.value.code == "unauthenticated"


async def test_a_body_that_is_too_large_is_refused_in_that_form(whole: RealServices) -> None:
    async with whole.client() as client:
        answer = await client.post(
            "/v1/chat/completions",
            content=b" " * ((16 << 20) + 1),
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "payload_too_large"


async def test_a_stream_that_breaks_is_told_in_band(
    client: AsyncOpenAI, whole: RealServices
) -> None:
    whole.model.behave(MODEL, words=50, break_after=4, times=1)
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="not whole"):
        async for _ in stream:
            pass


async def test_a_client_that_goes_away_ends_the_request_at_the_provider(
    client: AsyncOpenAI, whole: RealServices
) -> None:
    whole.model.behave(MODEL, words=4000, pause_s=0.01, times=1)
    stream = await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, max_tokens=4000
    )
    await anext(aiter(stream))
    await stream.close()
    await asyncio.sleep(0.5)
    billed = whole.model.bills[-1]
    so_far = billed.output
    await asyncio.sleep(0.2)
    assert not billed.ended
    assert billed.output == so_far


async def test_organisations_are_told_apart_by_their_keys(whole: RealServices) -> None:
    async with httpx.AsyncClient(base_url=whole.url, timeout=20) as nobody:
        answer = await nobody.post("/v1/chat/completions", json={"model": MODEL, "messages": HELLO})
    assert answer.status_code == 401


async def test_a_file_of_requests_comes_and_goes(client: AsyncOpenAI) -> None:
    content = b'{"custom_id": "a"}\n' * 50_000
    file = await client.files.create(file=("in.jsonl", content), purpose="batch")
    assert (await client.files.content(file.id)).content == content
    with pytest.raises(openai.BadRequestError) as caught:
        await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    assert caught.value.param == "line 1: method"
    assert (await client.files.delete(file.id)).deleted
