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
from typing import Final
from uuid import UUID

import aiohttp
from opentelemetry.trace import SpanKind

from ai_services.llm.models.catalogue import Deployment, Provider
from ai_services.llm.providers.outcome import ProviderFailure, failure_of
from shared.telemetry.spans import begin

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
        ends = time.monotonic() + provider.total_s
        with _span(deployment, path):
            async with self._answer(provider, path, body, attempt_id, provider.total_s) as response:
                try:
                    async with asyncio.timeout(ends - time.monotonic()):
                        return await _bounded(response, ANSWER_LIMIT)
                except TimeoutError as error:
                    raise _late(provider, begun=True) from error

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
        headers = {"Content-Type": "application/json", _ATTEMPT_HEADER: str(attempt_id)}
        if provider.key:
            headers["Authorization"] = f"Bearer {provider.key}"
        try:
            async with asyncio.timeout(head_s):
                response = await self._session.post(
                    provider.base_url + path,
                    data=body if len(body) <= _WHOLE else io.BytesIO(body),
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(None, sock_connect=provider.connect_s),
                    allow_redirects=False,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            said = f"The provider {provider.name} can't be reached."
            raise ProviderFailure("unavailable", "error", said) from error
        except TimeoutError as error:
            raise _late(provider, begun=False) from error
        except aiohttp.ClientError as error:
            said = f"The provider {provider.name} closed the connection without an answer."
            raise ProviderFailure("unavailable", "broken", said, billed=True) from error
        async with response:
            try:
                if response.status != 200:
                    said_there = await _begin_of(response)
                    raise failure_of(response.status, response.headers, said_there)
                yield response
            except aiohttp.ClientError as error:
                raise _broken(f"The provider {provider.name} broke off its answer.") from error


@asynccontextmanager
async def opened_providers() -> AsyncIterator[Providers]:
    """Connections for the time of the block; how many is bounded by those who ask."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=30)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        yield Providers(session)


@contextmanager
def _span(deployment: Deployment, path: str) -> Iterator[None]:
    """Around an attempt, as OpenTelemetry's conventions for generative AI name it. Nothing that
    begins inside is below it.
    """
    operation = _OPERATIONS[path]
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": deployment.provider.name,
        "gen_ai.request.model": deployment.model,
    }
    span = begin(f"{operation} {deployment.model}", SpanKind.CLIENT, attributes)
    try:
        yield
    except GeneratorExit:
        raise  # a reader that has what it wants, or has gone, is no failure of the provider
    except BaseException as error:
        span.fail(error)
        raise
    finally:
        span.end()


def _late(provider: Provider, *, begun: bool) -> ProviderFailure:
    said = f"The provider {provider.name} did not answer in time."
    return ProviderFailure("unavailable", "timeout", said, billed=True, begun=begun)


def _broken(said: str) -> ProviderFailure:
    return ProviderFailure("unavailable", "broken", said, billed=True, begun=True)


async def _parts(
    response: aiohttp.ClientResponse, provider: Provider, ends: float
) -> AsyncGenerator[bytes, None]:
    # Limits of time stand around the reads alone: what the reader does meanwhile is its own.
    while True:
        try:
            async with asyncio.timeout(min(provider.idle_s, ends - time.monotonic())):
                part = await response.content.readany()
        except TimeoutError as error:
            raise _late(provider, begun=True) from error
        except aiohttp.ClientError as error:
            raise _broken(f"The provider {provider.name} broke off its answer.") from error
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
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise _broken(f"The provider's answer has more than {limit} bytes.")
    return b"".join(parts)
