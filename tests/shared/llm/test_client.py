"""Services ask the llm service with OpenAI's client, over real sockets."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx2
import openai
import pytest

from shared import errors
from shared.data_access.cache.redis import RedisCache
from shared.llm.client import LanguageModels, open_language_models, translated
from shared.security import InternalTokens, Principal
from tests.shared.llm.conftest import SECRET
from tests.shared.llm.models import Models, said

ANALYST = Principal(UUID(int=1), "user:1", "analyst", "user")
OTHER = Principal(UUID(int=2), "service:enrichment", "service", "service")
HELLO = [{"role": "user", "content": "你好"}]


async def ask(client: openai.AsyncOpenAI) -> str | None:
    with translated():
        answer = await client.chat.completions.create(model="fast", messages=HELLO)
    return answer.choices[0].message.content


async def test_each_asks_as_the_principal_that_is_served(asking: LanguageModels, models) -> None:
    models.answers += [said("a")] * 8
    request_id = str(uuid4())
    for _ in range(4):  # whichever instance is tried first
        first = asking.asked_by(ANALYST, "summary", prompt_version="s@1:00", request_id=request_id)
        assert await ask(first) == "a"
        assert await ask(asking.asked_by(OTHER, "analysis")) == "a"
    headers, others = models.headers[-2:]
    tokens = InternalTokens(SECRET)
    assert tokens.verify(headers["x-internal-token"], "llm") == ANALYST
    assert tokens.verify(others["x-internal-token"], "llm") == OTHER
    assert (headers["x-purpose"], headers["x-prompt-version"]) == ("summary", "s@1:00")
    assert headers["x-request-id"] == request_id
    assert headers["host"] == models.url.removeprefix("http://")
    assert (others["x-purpose"], others.get("x-prompt-version")) == ("analysis", None)
    assert "authorization" not in headers


async def test_an_answer_is_streamed(asking: LanguageModels, models: Models) -> None:
    chunk = '{"id":"1","choices":[{"index":0,"delta":{"content":"%s"}}]}'
    models.answers.append([chunk % "你", chunk % "好", "[DONE]"])
    stream = await asking.asked_by(ANALYST, "chat").chat.completions.create(
        model="fast", messages=HELLO, stream=True
    )
    assert [part.choices[0].delta.content async for part in stream] == ["你", "好"]
    assert models.asked[0]["stream"] is True


@pytest.mark.parametrize(
    ("status", "code", "headers", "kind", "retry_after"),
    [
        (404, "model_not_found", {}, errors.ModelNotFound, None),
        (503, "no_model", {}, errors.NoModel, None),
        (429, "rate_limit_exceeded", {"Retry-After": "7"}, errors.TooManyRequests, 7),
        (400, "invalid_input", {}, errors.InvalidInput, None),
        (503, "store_unavailable", {"Retry-After": "3"}, errors.StoreUnavailable, 3),
        (401, "unauthenticated", {}, errors.UpstreamError, 2),
        (500, "of_a_newer_version", {}, errors.UpstreamError, 2),
        (500, None, {}, errors.UpstreamError, 2),
    ],
)
async def test_failures_are_those_that_the_service_meant(
    asking: LanguageModels, models: Models, status, code, headers, kind, retry_after
) -> None:
    models.answers.append((status, {"message": "so it is", "code": code}, headers))
    with pytest.raises(kind, match="so it is") as caught:
        await ask(asking.asked_by(ANALYST, "summary"))
    assert type(caught.value) is kind
    assert caught.value.retry_after == retry_after
    assert len(models.asked) == 1  # the service has retried already


async def test_a_failure_within_a_stream_is_one(asking: LanguageModels, models: Models) -> None:
    models.answers.append(['{"error":{"message":"gone","code":"upstream_timeout"}}'])
    stream = await asking.asked_by(ANALYST, "chat").chat.completions.create(
        model="fast", messages=HELLO, stream=True
    )
    with pytest.raises(errors.UpstreamTimeout, match="gone"), translated():
        [part async for part in stream]


async def test_without_an_instance_it_is_unavailable(redis_url: str) -> None:
    cache = RedisCache(redis_url)
    async with open_language_models(cache, InternalTokens(SECRET)) as nobody:
        with pytest.raises(errors.UpstreamUnavailable, match="llm service can be reached"):
            await ask(nobody.asked_by(ANALYST, "summary"))
    await cache.close()


async def test_what_takes_too_long_is_a_timeout(asking: LanguageModels, models) -> None:
    models.answers.append(said("late"))
    models.pause_s = 0.5
    short = httpx2.Timeout(0.1, connect=2.0)
    client = asking.asked_by(ANALYST, "summary").with_options(timeout=short)
    with pytest.raises(errors.UpstreamTimeout):
        await ask(client)
