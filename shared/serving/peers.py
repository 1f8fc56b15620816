"""Typed calls from one service to another.

The caller's principal travels in an internal token for the service that is asked, so the answer
is what that principal may see. Instances come from the registry, read again every few seconds;
one that can't be reached is passed over for the next. An answer is validated before it is
believed, and a failure arrives as the same error that the other service raised.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import httpx
import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared import errors
from shared.data_access.ports import Cache
from shared.security import InternalTokens, Principal
from shared.serving.registry import Instance, instances
from shared.wire import INTERNAL_TOKEN_HEADER, REQUEST_ID_HEADER

_REGISTRY_S: Final = 2.0
_CONNECT_S: Final = 2.0
_KNOWN_ERRORS: Final[Mapping[str, type[errors.LoomaError]]] = {
    kind.name: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.LoomaError)
}

AnswerT = TypeVar("AnswerT", bound=BaseModel)


class Peers:
    """Calls to the other services over one pool of connections."""

    def __init__(self, cache: Cache, tokens: InternalTokens, client: httpx.AsyncClient) -> None:
        self._cache = cache
        self._tokens = tokens
        self._client = client
        self._known: dict[str, tuple[Instance, ...]] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def ask(
        self,
        service: str,
        method: str,
        path: str,
        principal: Principal,
        *,
        answer: type[AnswerT],
        query: Mapping[str, str] | None = None,
        body: BaseModel | None = None,
        request_id: str | None = None,
        timeout: float = 15.0,
    ) -> AnswerT:
        """The `data` of the answer, validated as `answer`.

        Raises what the service raised (NotFound, InvalidInput, …), UpstreamUnavailable when no
        instance can be reached, UpstreamTimeout after `timeout` seconds, UpstreamError for an
        answer that is none. Only a connection that was refused is tried elsewhere: nothing is
        ever sent twice.
        """
        headers = {INTERNAL_TOKEN_HEADER: self._tokens.mint(principal, service)}
        if request_id is not None:
            headers[REQUEST_ID_HEADER] = request_id
        content = None
        if body is not None:
            content = body.model_dump_json(by_alias=True).encode()
            headers["Content-Type"] = "application/json"
        for instance in await self._instances(service):
            try:
                response = await self._client.request(
                    method,
                    instance.url + path,
                    params=dict(query or {}),
                    content=content,
                    headers=headers,
                    timeout=httpx.Timeout(timeout, connect=_CONNECT_S),
                )
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            except httpx.TimeoutException as error:
                raise errors.UpstreamTimeout(
                    f"The service {service} did not answer within {timeout:g} s."
                ) from error
            except httpx.TransportError as error:
                raise errors.UpstreamError(
                    f"The service {service} broke off its answer."
                ) from error
            return _data(service, response, answer)
        raise errors.UpstreamUnavailable(f"No instance of the service {service} can be reached.")

    async def _instances(self, service: str) -> list[Instance]:
        async with self._reading:
            if time.monotonic() - self._read_at > _REGISTRY_S:
                try:
                    self._known = await instances(self._cache)
                except errors.StoreUnavailable:
                    if not self._known:
                        raise
                    # The last known instances serve until Redis is back.
                self._read_at = time.monotonic()
        found = list(self._known.get(service, ()))
        random.shuffle(found)
        return found


def _data(service: str, response: httpx.Response, answer: type[AnswerT]) -> AnswerT:
    try:
        envelope: Any = orjson.loads(response.content)
        if response.is_success:
            return TypeAdapter(answer).validate_python(envelope["data"])
        failure = _failure(envelope)
    except (orjson.JSONDecodeError, ValidationError, KeyError, TypeError, ValueError) as error:
        raise errors.UpstreamError(
            f"The service {service} sent an answer that is not what it promised."
        ) from error
    raise failure


def _failure(envelope: Mapping[str, Any]) -> errors.LoomaError:
    kind = _KNOWN_ERRORS[envelope["error"]]
    if issubclass(kind, errors.MethodNotAllowed | errors.Unauthenticated):
        # Ours to explain, not our client's: we asked in a way that the other doesn't take.
        return errors.UpstreamError(f"A service refused our own request: {envelope['error']}.")
    failure = kind(envelope["message"])
    failure.details = tuple(
        errors.Detail(item["field"], item["problem"], item["fix"]) for item in envelope["details"]
    )
    return failure


@asynccontextmanager
async def open_peers(cache: Cache, tokens: InternalTokens) -> AsyncIterator[Peers]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=60)
    async with httpx.AsyncClient(limits=limits) as client:
        yield Peers(cache, tokens, client)
