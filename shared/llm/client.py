"""The llm service as other services ask it: with OpenAI's own client, as the principal they serve.

Requests go to an instance from the registry, with an internal token in the place of a key; only a
connection that was refused is tried elsewhere. The service retries and falls back by itself, so
that the client doesn't.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx2
import openai

from shared import errors
from shared.data_access.ports import Cache
from shared.security import InternalTokens, Principal
from shared.serving.peers import KNOWN_ERRORS
from shared.serving.registry import KnownInstances
from shared.wire import INTERNAL_TOKEN_HEADER, REQUEST_ID_HEADER

_SERVICE: Final = "llm"
_PURPOSE_HEADER: Final = "x-purpose"
_PROMPT_VERSION_HEADER: Final = "x-prompt-version"
_TIMEOUT: Final = httpx2.Timeout(600.0, connect=2.0)
# Ours to explain, not our client's: we asked in a way that the other doesn't take.
_OURS: Final = (errors.MethodNotAllowed, errors.Unauthenticated, errors.UnsupportedMediaType)
_LIMITS: Final = httpx2.Limits(max_connections=200, max_keepalive_connections=50)


class LanguageModels:
    """The models that the llm service has, over one pool of connections."""

    def __init__(self, tokens: InternalTokens, http: httpx2.AsyncClient) -> None:
        self._tokens = tokens
        # Nothing is asked with that key: each caller's client has its own.
        self._client = openai.AsyncOpenAI(
            api_key="none", base_url=f"http://{_SERVICE}/v1", http_client=http, max_retries=0
        )

    def asked_by(
        self,
        principal: Principal,
        purpose: str,
        *,
        prompt_version: str = "",
        request_id: str | None = None,
    ) -> openai.AsyncOpenAI:
        """A client that asks as `principal`: its organisation, budgets and limits count.

        `purpose` says what for ('summary'); `prompt_version` is that of `Rendered`. Failures are
        openai's own errors: `translated` makes ours of them.
        """

        async def token() -> str:
            return self._tokens.mint(principal, _SERVICE)

        headers = {_PURPOSE_HEADER: purpose}
        if prompt_version:
            headers[_PROMPT_VERSION_HEADER] = prompt_version
        if request_id is not None:
            headers[REQUEST_ID_HEADER] = request_id
        return self._client.with_options(api_key=token, default_headers=headers)


@asynccontextmanager
async def open_language_models(
    cache: Cache, tokens: InternalTokens
) -> AsyncIterator[LanguageModels]:
    transport = _ToService(KnownInstances(cache), httpx2.AsyncHTTPTransport(limits=_LIMITS))
    async with httpx2.AsyncClient(transport=transport, timeout=_TIMEOUT) as http:
        yield LanguageModels(tokens, http)


@contextmanager
def translated() -> Iterator[None]:
    """What openai's client raises inside the block, as the error that the llm service meant."""
    try:
        yield
    except openai.APITimeoutError as error:
        raise errors.UpstreamTimeout("The llm service did not answer in time.") from error
    except openai.APIConnectionError as error:
        raise errors.UpstreamUnavailable(
            "No instance of the llm service can be reached."
        ) from error
    except openai.APIError as error:
        raise _meant(error) from error


def _meant(error: openai.APIError) -> errors.LoomaError:
    retry_after = _retry_after(error)
    if error.code == "rate_limit_exceeded":
        return errors.TooManyRequests(error.message, retry_after=retry_after)
    kind = KNOWN_ERRORS.get(error.code or "")
    if kind is None or issubclass(kind, _OURS):
        return errors.UpstreamError(f"The llm service failed: {error.message[:200]}")
    meant = kind(error.message)
    meant.retry_after = retry_after or meant.retry_after
    return meant


def _retry_after(error: openai.APIError) -> float | None:
    if not isinstance(error, openai.APIStatusError):
        return None
    value = error.response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


class _ToService(httpx2.AsyncBaseTransport):
    """Sends a request to one of the instances; the client's key is an internal token."""

    def __init__(self, instances: KnownInstances, inner: httpx2.AsyncBaseTransport) -> None:
        self._instances = instances
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        token = request.headers.pop("authorization").removeprefix("Bearer ")
        request.headers[INTERNAL_TOKEN_HEADER] = token
        for instance in await self._instances.of(_SERVICE):
            url = httpx2.URL(instance.url)
            request.url = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)
            request.headers["host"] = url.netloc.decode()
            try:
                return await self._inner.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        raise httpx2.ConnectError("No instance of the llm service can be reached.")

    async def aclose(self) -> None:
        await self._inner.aclose()
