"""One attempt at one deployment of a provider, over HTTP, by the OpenAI protocol.

Connections are kept and shared. Nothing is tried again here. A body that is larger than the limit,
late, cut off or none of ours is a ProviderFailure; what a stream has brought until then stays with
who reads it.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Final
from uuid import UUID

import aiohttp
from opentelemetry.trace import SpanKind

from ai_services.llm.models.catalogue import Deployment, Provider
from ai_services.llm.providers.outcome import ProviderFailure, failure_of
from shared.telemetry.spans import TimedSpan, begin

ANSWER_LIMIT: Final = 32 << 20  # bytes of a whole answer
_WHOLE: Final = 1 << 20  # bytes; a larger body is written in parts, and others go on between them
_ERROR_LIMIT: Final = 64 << 10
_ERROR_S: Final = 5.0
_KEEP_ALIVE_S: Final = 30.0
_ATTEMPT_HEADER: Final = (
    "X-Client-Request-Id"  # OpenAI's word for it: how an attempt is found there
)
_OPERATIONS: Final = {"/chat/completions": "chat", "/embeddings": "embeddings"}


class Providers:
    """The connections to all providers; opened by `opened_providers`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def whole(
        self, deployment: Deployment, path: str, body: bytes, attempt_id: UUID
    ) -> bytes:
        """The body of a 200; ProviderFailure for all else."""
        provider = deployment.provider
        span = _begin(deployment, path)
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(provider.total_s):
                response = await self._post(provider, path, body, attempt_id)
                if response.status != 200:
                    raise await _refusal(response)
                return await _bounded(response, ANSWER_LIMIT)
        except BaseException as error:
            if response is not None:
                response.close()
            failure = _failure(provider, error, begun=response is not None)
            span.fail(failure)
            if failure is error:
                raise
            raise failure from error
        finally:
            span.end()

    @asynccontextmanager
    async def stream(
        self, deployment: Deployment, path: str, body: bytes, attempt_id: UUID
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a 200 as they come; ProviderFailure before or while they do."""
        provider = deployment.provider
        ends = time.monotonic() + provider.total_s
        async with AsyncExitStack() as stack:
            stack.enter_context(_span(deployment, path))
            response = await stack.enter_async_context(
                self._answer(provider, path, body, attempt_id, provider.first_byte_s)
            )
            kind = response.headers.get("Content-Type", "")
            if not kind.startswith("text/event-stream"):
                shown = kind[:60] or "no content type"
                raise _broken(f"The provider {provider.name} answered a stream with {shown}.")
            yield await stack.enter_async_context(aclosing(_parts(response, provider, ends)))

    @asynccontextmanager
    async def _answer(
        self, provider: Provider, path: str, body: bytes, attempt_id: UUID, head_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer once its head is there and says 200; it must have come within `head_s`."""
        try:
            async with asyncio.timeout(head_s):
                response = await self._post(provider, path, body, attempt_id)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _failure(provider, error, begun=False) from error
        async with response:
            try:
                if response.status != 200:
                    raise await _refusal(response)
                yield response
            except aiohttp.ClientError as error:
                raise _failure(provider, error, begun=True) from error

    async def _post(
        self, provider: Provider, path: str, body: bytes, attempt_id: UUID
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json", _ATTEMPT_HEADER: str(attempt_id)}
        if provider.key:
            headers["Authorization"] = f"Bearer {provider.key}"
        return await self._session.post(
            provider.base_url + path,
            data=body if len(body) <= _WHOLE else io.BytesIO(body),
            headers=headers,
            timeout=_connecting(provider.connect_s),
            allow_redirects=False,
        )


@asynccontextmanager
async def opened_providers() -> AsyncIterator[Providers]:
    """Connections for the time of the block; how many is bounded by those who ask."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=30)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        yield Providers(session)


def _begin(deployment: Deployment, path: str) -> TimedSpan:
    """The span of an attempt, as OpenTelemetry's conventions for generative AI name it. Nothing that
    begins meanwhile is below it.
    """
    operation = _OPERATIONS[path]
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": deployment.provider.name,
        "gen_ai.request.model": deployment.model,
    }
    return begin(f"{operation} {deployment.model}", SpanKind.CLIENT, attributes)


@contextmanager
def _span(deployment: Deployment, path: str) -> Iterator[None]:
    """`_begin` around a block."""
    span = _begin(deployment, path)
    try:
        yield
    except GeneratorExit:
        raise  # a reader that has what it wants, or has gone, is no failure of the provider
    except BaseException as error:
        span.fail(error)
        raise
    finally:
        span.end()


@lru_cache
def _connecting(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(None, sock_connect=seconds)


def _failure(provider: Provider, error: BaseException, *, begun: bool) -> BaseException:
    """What an attempt at the provider failed by; `begun`: the head of its answer was there."""
    match error:
        case aiohttp.ClientError() if begun:
            return _broken(f"The provider {provider.name} broke off its answer.")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            said = f"The provider {provider.name} can't be reached."
            return ProviderFailure("unavailable", "error", said)
        case TimeoutError():
            said = f"The provider {provider.name} did not answer in time."
            return ProviderFailure("unavailable", "timeout", said, billed=True, begun=begun)
        case aiohttp.ClientError():
            said = f"The provider {provider.name} closed the connection without an answer."
            return ProviderFailure("unavailable", "broken", said, billed=True)
        case _:
            return error


def _broken(said: str) -> ProviderFailure:
    return ProviderFailure("unavailable", "broken", said, billed=True, begun=True)


async def _refusal(response: aiohttp.ClientResponse) -> ProviderFailure:
    """What an answer with another status than 200 means."""
    return failure_of(response.status, response.headers, await _begin_of(response))


async def _parts(
    response: aiohttp.ClientResponse, provider: Provider, ends: float
) -> AsyncGenerator[bytes, None]:
    # Limits of time stand around the reads alone: what the reader does meanwhile is its own.
    while True:
        try:
            async with asyncio.timeout(min(provider.idle_s, ends - time.monotonic())):
                part = await response.content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _failure(provider, error, begun=True) from error
        if not part:
            return
        yield part


async def _begin_of(response: aiohttp.ClientResponse) -> bytes:
    """What comes soon of an error's body: its status says enough if the rest is late or missing."""
    parts, size = [], 0
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_ERROR_S):
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > _ERROR_LIMIT:
                    break
    return b"".join(parts)


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, up to `limit` bytes; ProviderFailure for a longer one."""
    parts, size, content = [], 0, response.content
    while part := await content.readany():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise _broken(f"The provider's answer has more than {limit} bytes.")
    return b"".join(parts)
