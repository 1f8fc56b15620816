"""BaseAIService: what every service process has, whatever it does.

A service is data (its endpoints) and one function that opens its state. From those come its
lifetime, `/health`, `/ready`, `/metrics`, `/openapi.json`, authentication by internal token,
scopes, validation, the error envelope, logs, traces and the graceful stop.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

import orjson
import structlog
from opentelemetry import propagate, trace
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sanic import Sanic
from sanic import exceptions as sanic_errors
from sanic.config import Config as SanicConfig
from sanic.handlers import ErrorHandler
from sanic.request import Request
from sanic.response import HTTPResponse

from shared.background import running_beside
from shared.config import Config
from shared.errors import (
    LoomaError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    StoreUnavailable,
    UpstreamTimeout,
    render,
)
from shared.home import internal_token_secret
from shared.openapi import describe
from shared.security import InternalTokens, Principal
from shared.server import listen, serving
from shared.telemetry import Metrics
from shared.validation import parse_body, parse_params, parse_query

S = TypeVar("S")
log = structlog.get_logger()

INTERNAL_TOKEN_HEADER = "x-internal-token"  # noqa: S105 - a header's name
DEADLINE_HEADER = "x-deadline-ms"  # milliseconds that the caller still waits
_READY_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Call(Generic[S]):
    """One validated request of one verified principal."""

    state: S
    principal: Principal
    params: Mapping[str, str]
    query: Any
    body: Any
    request_id: str
    request: Request

    @property
    def org_id(self) -> UUID:
        return self.principal.org_id


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[S]):
    """One route as data. `query`, `body` and `returns` are pydantic models: wire types.

    `parse` makes `Call.body` of the bytes sent where validating all of them as `body` would not
    do; `body` then only describes them.

    `handler` returns the `data` of the success envelope (a model, or what orjson can write), or an
    HTTPResponse that is sent as it is.
    """

    method: str
    path: str  # '/api/v1/portrait/{user_id}'
    handler: Callable[[Call[S]], Awaitable[Any]]
    scope: str
    summary: str
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    returns: type[BaseModel] | None = None
    status: int = 200
    parse: Callable[[bytes], Any] | None = None
    body_limit: int = 1 << 20
    tags: Sequence[str] = ()


Check = Callable[[], Awaitable[None]]
Opener = Callable[["BaseAIService[S]", AsyncExitStack], Awaitable[S]]


@dataclass(frozen=True, slots=True)
class _Opened(Generic[S]):
    state: S


class BaseAIService(Generic[S]):
    """One service process.

    `open_state(service, stack)` opens what the service needs on `stack` (closed in reverse order at
    the end) and returns the state that handlers find in `Call.state`. It may register readiness
    checks and background work with `check` and `background`. It must not need a store to be up.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        *,
        endpoints: Sequence[Endpoint[S]],
        open_state: Opener[S],
        description: str = "",
    ) -> None:
        self.name = name
        self.config = config
        self.endpoints = tuple(endpoints)
        self.description = description
        self.metrics = Metrics(name)
        self.draining = False
        self.url = ""  # where others reach this process, known once it listens
        self._open_state = open_state
        self._tokens = InternalTokens(internal_token_secret(config))
        self._checks: dict[str, Check] = {}
        self._background: dict[str, Callable[[], Awaitable[None]]] = {}
        self._opened: _Opened[S] | None = None
        self.app = self._build_app()

    # What open_state may call.

    def check(self, name: str, ping: Check) -> None:
        """Count `ping` (raises when down) towards `/ready`."""
        self._checks[name] = ping

    def background(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` while the service serves; start it again, later each time, when it fails."""
        self._background[name] = work

    @property
    def state(self) -> S:
        """What `open_state` returned; StoreUnavailable until it has."""
        if self._opened is None:
            raise StoreUnavailable("The service is starting. Try again in a moment.")
        return self._opened.state

    # Lifetime.

    @asynccontextmanager
    async def running(self, host: str | None = None, port: int | None = None) -> AsyncIterator[str]:
        """Serve inside the block; yields the base URL. Port 0 takes a free one."""
        host = host or self.config.bind_host
        wanted = self.config.port_of(self.name) if port is None else port
        sock = listen(host, wanted, f"{self.name.upper()}_PORT")
        bound = sock.getsockname()[1]
        shown = self.config.advertise_host if host == self.config.bind_host else host
        self.url = f"http://{'127.0.0.1' if shown == '0.0.0.0' else shown}:{bound}"  # noqa: S104 - compared, not bound
        async with AsyncExitStack() as stack:
            self._opened = _Opened(await self._open_state(self, stack))
            await stack.enter_async_context(serving(self.app, sock, self.config.shutdown_seconds))
            try:
                async with running_beside(self._background):
                    log.info("serving", url=self.url)
                    try:
                        yield self.url
                    finally:
                        self.draining = True
            finally:
                # Out of the registry now; gateways that don't know yet are still answered.
                await asyncio.sleep(self.config.drain_delay_seconds)

    # The application.

    def _build_app(self) -> Sanic[Any, Any]:
        settings: SanicConfig = SanicConfig(env_prefix="LOOMA_SANIC_UNUSED_")
        settings.REQUEST_MAX_SIZE = max([1 << 20, *(e.body_limit for e in self.endpoints)]) + 1
        settings.KEEP_ALIVE_TIMEOUT = 75  # longer than the gateway keeps an idle connection
        settings.REQUEST_MAX_HEADER_SIZE = 16_384  # a client's 8 KiB and what the gateway adds
        settings.ACCESS_LOG = False
        settings.MOTD = False
        # It rewrites Sanic's classes for one application; tests run several in a process.
        settings.TOUCHUP = False
        app: Sanic[Any, Any] = Sanic(
            f"{self.name}-{uuid4().hex[:8]}",
            config=settings,
            configure_logging=False,
            error_handler=_Errors(),
        )
        app.add_route(self._health, "/health", name="health")
        app.add_route(self._ready, "/ready", name="ready")
        app.add_route(self._metrics_page, "/metrics", name="metrics")
        app.add_route(self._openapi, "/openapi.json", name="openapi")
        for endpoint in self.endpoints:
            app.add_route(
                self._bind(endpoint),
                endpoint.path.replace("{", "<").replace("}", ":str>"),
                methods=[endpoint.method],
                name=f"{endpoint.method}_{endpoint.path}".translate(_NAME_SAFE),
            )
        return app

    def _bind(self, endpoint: Endpoint[S]) -> Callable[..., Coroutine[Any, Any, HTTPResponse]]:
        requests, duration = self.metrics.requests, self.metrics.duration
        timer = duration.labels(self.name, endpoint.method, endpoint.path)
        tracer = trace.get_tracer("looma")

        async def handle(request: Request, **params: str) -> HTTPResponse:
            started = time.perf_counter()
            request_id = request_id_of(request)
            parent = propagate.extract(dict(request.headers))
            with (
                structlog.contextvars.bound_contextvars(request_id=request_id),
                self.metrics.in_flight.track_inprogress(),
                tracer.start_as_current_span(f"{endpoint.method} {endpoint.path}", parent) as span,
            ):
                try:
                    response = await self._answer(endpoint, request, request_id, params)
                except Exception as error:  # noqa: BLE001 - the edge: rendered and logged here
                    response = error_response(error, request_id)
                span.set_attribute("http.response.status_code", response.status)
            requests.labels(self.name, endpoint.method, endpoint.path, str(response.status)).inc()
            timer.observe(time.perf_counter() - started)
            return response

        return handle

    async def _answer(
        self, endpoint: Endpoint[S], request: Request, request_id: str, params: Mapping[str, str]
    ) -> HTTPResponse:
        principal = self._tokens.verify(request.headers.get(INTERNAL_TOKEN_HEADER, ""), self.name)
        principal.require(endpoint.scope)
        if len(request.body) > endpoint.body_limit:
            raise PayloadTooLarge(
                f"The body has {len(request.body)} bytes; this route takes {endpoint.body_limit}. "
                "Send less per request."
            )
        bind = structlog.contextvars.bound_contextvars
        with bind(org_id=str(principal.org_id), trace_id=_trace_id(request)):
            data = await in_time(
                request.headers.get(DEADLINE_HEADER),
                endpoint.handler,
                Call(
                    state=self.state,
                    principal=principal,
                    params=parse_params(params),
                    query=parse_query(endpoint.query, request.query_string),
                    body=_body(endpoint, request.body),
                    request_id=request_id,
                    request=request,
                ),
            )
        if isinstance(data, HTTPResponse):
            return data
        return success(data, request_id, endpoint.status)

    async def _health(self, _request: Request) -> HTTPResponse:
        return json_response({"status": "alive", "service": self.name})

    async def _ready(self, _request: Request) -> HTTPResponse:
        checks = await readiness(self._checks)
        ready = not self.draining and all(state == "up" for state in checks.values())
        body = {"status": "ready" if ready else "not_ready", "service": self.name, "checks": checks}
        if self.draining:
            body["status"] = "draining"
        return json_response(body, 200 if ready else 503, {} if ready else {"Retry-After": "2"})

    async def _metrics_page(self, _request: Request) -> HTTPResponse:
        page = generate_latest(self.metrics.registry)
        return HTTPResponse(page, 200, content_type=CONTENT_TYPE_LATEST)

    async def _openapi(self, _request: Request) -> HTTPResponse:
        return json_response(describe(self.name, self.description, self.endpoints))


class _Errors(ErrorHandler):
    """What fails outside an endpoint: unknown paths, wrong methods, broken HTTP."""

    def response(self, request: Request | None, exception: Exception) -> HTTPResponse:
        request_id = request_id_of(request) if request is not None else str(uuid4())
        return error_response(translate_sanic(exception), request_id)


def translate_sanic(error: Exception) -> Exception:
    """Sanic's own exceptions as ours; anything else unchanged."""
    match error:
        case sanic_errors.NotFound():
            return NotFound("There is no such path. GET /openapi.json lists those there are.")
        case sanic_errors.MethodNotAllowed():
            allowed = (error.headers or {}).get("Allow", "").split(", ")
            return MethodNotAllowed("This path doesn't take that method.", allowed=allowed)
        case sanic_errors.PayloadTooLarge():
            return PayloadTooLarge("The body is too large. Send less per request.")
        case sanic_errors.SanicException() if 400 <= error.status_code < 500:
            return MalformedRequest("The request is not well-formed HTTP.")
        case _:
            return error


def _body(endpoint: Endpoint[S], sent: bytes) -> Any:
    if endpoint.parse is not None:
        return endpoint.parse(sent)
    return parse_body(endpoint.body, sent)


async def in_time(
    deadline: str | None, handler: Callable[[Call[S]], Awaitable[Any]], call: Call[S]
) -> Any:
    """What `handler` returns, unless the caller's deadline (X-Deadline-Ms) passes first.

    UpstreamTimeout (504) if it has passed already, when nothing is begun, or passes meanwhile, when
    the handler is cancelled and its transaction rolled back.
    """
    if deadline is None:
        return await handler(call)
    if not (deadline.isascii() and deadline.isdigit()):
        raise MalformedRequest("X-Deadline-Ms is not a number of milliseconds. Send digits.")
    if int(deadline) == 0:
        raise UpstreamTimeout("The deadline of this request has passed; nothing was done.")
    try:
        async with asyncio.timeout(int(deadline) / 1000) as scope:
            return await handler(call)
    except TimeoutError:
        if not scope.expired():
            raise
        raise UpstreamTimeout(
            "The deadline of this request passed before its work was done. Allow more time."
        ) from None


async def readiness(checks: Mapping[str, Check]) -> dict[str, str]:
    """Run all checks at once: name → 'up', or what is wrong."""

    async def one(ping: Check) -> str:
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                await ping()
        except LoomaError as error:
            return error.message
        except TimeoutError:
            return f"no answer within {_READY_TIMEOUT_S:g} s"
        return "up"

    results = await asyncio.gather(*(one(ping) for ping in checks.values()))
    return dict(zip(checks, results, strict=True))


def request_id_of(request: Request) -> str:
    """The client's X-Request-Id if it is a UUID, else a new one; the same for the whole request."""
    known = getattr(request.ctx, "request_id", None)
    if known is not None:
        return str(known)
    given = request.headers.get("x-request-id")
    try:
        # Most requests bring none: an exception for each of them would cost more than the id.
        request_id = str(uuid4() if given is None else UUID(given))
    except ValueError:
        request_id = str(uuid4())
    request.ctx.request_id = request_id
    return request_id


def _trace_id(request: Request) -> str:
    parts = str(request.headers.get("traceparent", "")).split("-")
    return parts[1] if len(parts) == 4 else ""


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTTPResponse:
    return HTTPResponse(
        orjson.dumps(body, default=_plain, option=orjson.OPT_UTC_Z),
        status,
        dict(headers or {}),
        "application/json",
    )


def success(data: Any, request_id: str, status: int = 200) -> HTTPResponse:
    """The success envelope of the HTTP contract."""
    body = {"code": 0, "data": data, "request_id": request_id}
    return json_response(body, status, {"X-Request-Id": request_id})


def error_response(error: Exception, request_id: str) -> HTTPResponse:
    """The failure envelope; a defect is logged with its traceback, an expected failure in a line."""
    if not isinstance(error, LoomaError):
        log.error("unexpected error", exc_info=error, request_id=request_id)
    elif error.status >= 500:
        log.warning("request failed", error=error.name, reason=error.message, request_id=request_id)
    status, body, headers = render(error, request_id)
    return json_response(body, status, {**headers, "X-Request-Id": request_id})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


_NAME_SAFE = {ord(c): "_" for c in "/{}-. "}
