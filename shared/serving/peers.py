"""Typed calls from one service to another, and whether one is ready.

The caller's principal travels in an internal token for the service that is asked, so the answer
is what that principal may see. Instances come from the registry, read again every few seconds;
one that can't be reached is passed over for the next. An answer is validated before it is
believed, and a failure arrives as the same error that the other service raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx
import orjson
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared import errors
from shared.data_access.ports import Cache
from shared.security import InternalTokens, Principal
from shared.serving.registry import KnownInstances
from shared.telemetry.spans import begin, current, outgoing
from shared.wire import INTERNAL_TOKEN_HEADER, REQUEST_ID_HEADER

_CONNECT_S: Final = 2.0
_OK: Final = 200
_MOST_READY_BYTES: Final = 64 << 10
_NO_ANSWER: Final = "does not answer"
KNOWN_ERRORS: Final[Mapping[str, type[errors.LoomaError]]] = {
    kind.name: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.LoomaError)
}

AnswerT = TypeVar("AnswerT", bound=BaseModel)


class Peers:
    """Calls to the other services over one pool of connections."""

    def __init__(self, cache: Cache, tokens: InternalTokens, client: httpx.AsyncClient) -> None:
        self._instances = KnownInstances(cache)
        self._tokens = tokens
        self._client = client

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
        for instance in await self._instances.of(service):
            called = {"http.request.method": method, "server.address": service}
            try:
                with current(begin(method, SpanKind.CLIENT, called)) as span:
                    response = await self._client.request(
                        method,
                        instance.url + path,
                        params=dict(query or {}),
                        content=content,
                        headers=headers | outgoing(span),
                        timeout=httpx.Timeout(timeout, connect=_CONNECT_S),
                    )
                    span.set_attribute("http.response.status_code", response.status_code)
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
    kind = KNOWN_ERRORS[envelope["error"]]
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
    async with httpx.AsyncClient(trust_env=False, limits=limits) as client:
        yield Peers(cache, tokens, client)


@dataclass(frozen=True, slots=True)
class Readiness:
    """`wrong` has what isn't up, as 'store: why'; a process may be ready in spite of it."""

    ready: bool
    wrong: tuple[str, ...] = ()


async def ask_ready(client: httpx.AsyncClient, url: str) -> Readiness:
    """Ask the process at `url`; how long that may take is for `client` to say."""
    try:
        async with client.stream("GET", f"{url}/ready") as answer:
            return _readiness(answer.status_code, await _bounded(answer))
    except (httpx.HTTPError, httpx.InvalidURL):
        return Readiness(False, (_NO_ANSWER,))


async def _bounded(answer: httpx.Response) -> bytes:
    """The body; what is longer than such a page ever is counts as none."""
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > _MOST_READY_BYTES:
            return b""
    return bytes(body)


def _readiness(status: int, body: bytes) -> Readiness:
    try:
        page: Any = orjson.loads(body)
        wrong = tuple(f"{name}: {state}" for name, state in page["checks"].items() if state != "up")
        said = str(page.get("status", status))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return Readiness(False, (f"answers {status}, and not as a process of the platform does",))
    if status == _OK:
        return Readiness(True, wrong)
    return Readiness(False, wrong or (said,))
