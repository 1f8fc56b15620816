"""BaseAIService: what every service process has, whatever it does.

A service is data (its endpoints) and one function that opens its state. From those come its
lifetime, `/health`, `/ready`, `/metrics`, `/openapi.json`, authentication by internal token,
scopes, validation, the error envelope, logs, traces and the graceful stop.
"""

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel
from sanic import Sanic
from sanic.config import Config as SanicConfig
from sanic.request import Request
from sanic.response import HTTPResponse

from shared.config import Config
from shared.errors import (
    LoomaError,
    PayloadTooLarge,
    StoreUnavailable,
    UpstreamTimeout,
)
from shared.media_type import require_json
from shared.secrets import internal_token_secret
from shared.security import InternalTokens, Principal
from shared.serving.access_log import AccessLog
from shared.serving.background import running_beside
from shared.serving.envelope import error_response, json_response, success
from shared.serving.http_edge import (
    Application,
    BoundedRequest,
    Errors,
    Upload,
    answer_early,
    request_id_of,
)
from shared.serving.openapi import FailureSchema, describe
from shared.serving.server import handed_over, listen, serving
from shared.serving.validation import parse_body, parse_params, parse_query
from shared.telemetry import spans
from shared.telemetry.logs import RequestNames, current_names
from shared.telemetry.metrics import Counter, Metrics
from shared.wire import DEADLINE_HEADER, INTERNAL_TOKEN_HEADER, deadline_ms

S = TypeVar("S")
log = structlog.get_logger()

_LARGE_BODY = 64 << 10  # bytes; reading more of them takes longer than others should wait
_READY_TIMEOUT_S = 2.0
# More than any deadline: Sanic's own limit for handlers would cut work that has longer to go.
_NO_RESPONSE_TIMEOUT_S = 10**7


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
    do; `body` then only describes them. With `takes` the body is a file of one of these media types,
    and `Call.body` the `Upload` that `handler` reads it from; its deadline runs from the body's end.

    `handler` returns the `data` of the success envelope (a model, or what orjson can write), or an
    HTTPResponse that is sent as it is; or it has answered itself, part by part (`request.respond`),
    and returns that response. What it raises after that cuts the answer off. `failed` is how
    failures are shown.
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
    waited: type[BaseModel] | None = None  # what 200 holds where 202 holds the job that was started
    parse: Callable[[bytes], Any] | None = None
    enveloped: bool = True  # False: `handler` answers with an HTTPResponse of its own form
    failed: Callable[[BaseException, str], HTTPResponse] = error_response
    failure_schema: FailureSchema = "Error"  # of what `failed` makes
    body_limit: int = 1 << 20
    takes: Sequence[str] = ()
    sends: Sequence[str] = ()  # media types of an answer that is a file, of which it is one
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
        self.metrics = Metrics(name, config.metrics_organisations)
        self._access = AccessLog(config.log_level)
        self.draining = False
        self.url = ""  # where others reach this process, known once it listens
        self._open_state = open_state
        self._tokens = InternalTokens(internal_token_secret(config))
        self._checks: dict[str, Check] = {}
        self._notices: dict[str, Callable[[], str]] = {}
        self._background: dict[str, Callable[[], Awaitable[None]]] = {}
        self._opened: _Opened[S] | None = None
        self.app = self._build_app()

    # What open_state may call.

    def check(self, name: str, ping: Check) -> None:
        """Count `ping` (raises when down) towards `/ready`."""
        self._checks[name] = ping

    def notice(self, name: str, condition: Callable[[], str]) -> None:
        """Show 'up' or what is wrong in `/ready`, which is ready all the same. Must not wait."""
        self._notices[name] = condition

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
        if port is None and self.config.listen_fd is not None:
            sock = handed_over(self.config.listen_fd)
        else:
            wanted = self.config.port_of(self.name) if port is None else port
            sock = listen(host, wanted, f"{self.name.upper()}_PORT")
        bound = sock.getsockname()[1]
        shown = self.config.advertise_host if host == self.config.bind_host else host
        self.url = f"http://{'127.0.0.1' if shown == '0.0.0.0' else shown}:{bound}"  # noqa: S104 - compared, not bound
        async with AsyncExitStack() as stack:
            stack.callback(sock.close)  # should nothing come to serve on it
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
        # What is held in memory; an `Upload` has a limit of its own.
        held = [one.body_limit for one in self.endpoints if not one.takes]
        settings.REQUEST_MAX_SIZE = max([1 << 20, *held]) + 1
        settings.RESPONSE_TIMEOUT = _NO_RESPONSE_TIMEOUT_S  # `in_time` bounds the work
        settings.KEEP_ALIVE_TIMEOUT = 75  # longer than the gateway keeps an idle connection
        settings.REQUEST_MAX_HEADER_SIZE = 16_384  # a client's 8 KiB and what the gateway adds
        settings.ACCESS_LOG = False
        settings.MOTD = False
        # It rewrites Sanic's classes for one application; tests run several in a process.
        settings.TOUCHUP = False
        app = Application(
            f"{self.name}-{uuid4().hex[:8]}",
            config=settings,
            configure_logging=False,
            error_handler=Errors(),
            request_class=BoundedRequest,
        )
        for name, page in (
            ("health", self._health),
            ("ready", self._ready),
            ("metrics", self._metrics_page),
            ("openapi.json", self._openapi),
        ):
            app.add_route(page, f"/{name}", methods=_methods("GET"), name=name.partition(".")[0])
        for endpoint in self.endpoints:
            app.add_route(
                self._bind(endpoint),
                endpoint.path.replace("{", "<").replace("}", ":str>"),
                methods=_methods(endpoint.method),
                stream=bool(endpoint.takes),
                name=f"{endpoint.method}_{endpoint.path}".translate(_NAME_SAFE),
            )
        return app

    def _bind(
        self, endpoint: Endpoint[S]
    ) -> Callable[..., Coroutine[Any, Any, HTTPResponse | None]]:
        requests, duration = self.metrics.requests, self.metrics.duration
        timer = duration.labels(self.name, endpoint.method, endpoint.path)
        in_flight = self.metrics.in_flight
        counted: dict[int, Counter] = {}  # by status
        name = f"{endpoint.method} {endpoint.path}"
        named = {"http.request.method": endpoint.method, "http.route": endpoint.path}

        async def handle(request: Request, **params: str) -> HTTPResponse | None:
            started = time.perf_counter()
            names = RequestNames(request_id_of(request), _trace_id(request))
            failure: Exception | None = None
            naming = current_names.set(names)
            in_flight.inc()
            try:
                parent = spans.incoming(request.headers)
                with spans.current(spans.begin(name, SpanKind.SERVER, named, parent)) as span:
                    try:
                        response = await self._answer(endpoint, request, names, params)
                    except Exception as error:  # noqa: BLE001 - the edge: rendered and logged here
                        failure = error
                        response = endpoint.failed(error, names.request_id)
                        if request.responded:
                            _cut_off(request)
                    sampled = spans.sampled_trace(span)
                    spans.answered(span, response.status)
                    seconds = time.perf_counter() - started
                    self._access.note(
                        response.status, seconds, endpoint.path, failure, method=endpoint.method
                    )
            finally:
                in_flight.dec()
                current_names.reset(naming)
            status = response.status
            if status not in counted:
                counted[status] = requests.labels(
                    self.name, endpoint.method, endpoint.path, str(status)
                )
            counted[status].inc()
            timer.observe(seconds, {"trace_id": sampled} if sampled else None)
            if request.responded:
                return None
            if endpoint.takes:
                await answer_early(request, response, endpoint.body_limit)
                return None
            return response

        return handle

    async def _answer(
        self,
        endpoint: Endpoint[S],
        request: Request,
        names: RequestNames,
        params: Mapping[str, str],
    ) -> HTTPResponse:
        principal = self._tokens.verify(request.headers.get(INTERNAL_TOKEN_HEADER, ""), self.name)
        names.org_id = principal.org_id
        principal.require(endpoint.scope)
        if len(request.body) > endpoint.body_limit:
            raise PayloadTooLarge(
                f"The body has {len(request.body)} bytes; this route takes {endpoint.body_limit}. "
                "Send less per request."
            )
        data = await in_time(
            request.headers.get(DEADLINE_HEADER),
            endpoint.handler,
            Call(
                state=self.state,
                principal=principal,
                params=parse_params(params),
                query=parse_query(endpoint.query, request.raw_url.partition(b"?")[2]),
                body=await _read_body(endpoint, request),
                request_id=names.request_id,
                request=request,
            ),
        )
        if isinstance(data, HTTPResponse):
            return data
        asked = None
        if endpoint.method == "GET" and endpoint.status == 200:
            asked = ", ".join(request.headers.getall("if-none-match", ()))
        return success(data, names.request_id, endpoint.status, if_none_match=asked)

    async def _health(self, _request: Request) -> HTTPResponse:
        return json_response({"status": "alive", "service": self.name})

    async def _ready(self, _request: Request) -> HTTPResponse:
        checks = await readiness(self._checks)
        ready = not self.draining and all(state == "up" for state in checks.values())
        checks |= {name: condition() for name, condition in self._notices.items()}
        body = {"status": "ready" if ready else "not_ready", "service": self.name, "checks": checks}
        if self.draining:
            body["status"] = "draining"
        return json_response(body, 200 if ready else 503, {} if ready else {"Retry-After": "2"})

    async def _metrics_page(self, request: Request) -> HTTPResponse:
        """In the format that the scraper asks for; only OpenMetrics has exemplars."""
        encode, content_type = choose_encoder(", ".join(request.headers.getall("accept", ())))
        return HTTPResponse(encode(self.metrics.registry), 200, content_type=content_type)

    async def _openapi(self, _request: Request) -> HTTPResponse:
        return json_response(describe(self.name, self.description, self.endpoints))


async def _read_body(endpoint: Endpoint[S], request: Request) -> Any:
    if endpoint.takes:
        return Upload(request, endpoint.takes, endpoint.body_limit)
    model = endpoint.body
    if model is None:
        return None
    headers = request.headers
    require_json(headers.getall("content-type", []), headers.getall("content-encoding", []))
    read = endpoint.parse or partial(parse_body, model)
    if len(request.body) < _LARGE_BODY:
        return read(request.body)
    return await asyncio.to_thread(read, request.body)


async def in_time(
    deadline: str | None, handler: Callable[[Call[S]], Awaitable[Any]], call: Call[S]
) -> Any:
    """What `handler` returns, unless the caller's deadline (X-Deadline-Ms) passes first.

    UpstreamTimeout (504) if it has passed already, when nothing is begun, or passes meanwhile, when
    the handler is cancelled and its transaction rolled back. The time in which an upload comes is
    its sender's.
    """
    if deadline is None:
        return await handler(call)
    left = deadline_ms(deadline)
    if left == 0:
        raise UpstreamTimeout("The deadline of this request has passed; nothing was done.")
    try:
        async with asyncio.timeout(left / 1000) as scope:
            if isinstance(call.body, Upload):
                scope.reschedule(None)
                now = asyncio.get_running_loop().time
                call.body.when_whole(lambda: scope.reschedule(now() + left / 1000))
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


def _cut_off(request: Request) -> None:
    """End an answer that has begun so that nobody takes it for whole."""
    transport: Any = request.transport
    if transport is not None:
        transport.abort()


def _trace_id(request: Request) -> str:
    parts = str(request.headers.get("traceparent", "")).split("-")
    return parts[1] if len(parts) == 4 else ""


def _methods(method: str) -> list[str]:
    """RFC 9110 §9.3.2: what answers GET answers HEAD; the server leaves out the body."""
    return ["GET", "HEAD"] if method == "GET" else [method]


_NAME_SAFE = {ord(c): "_" for c in "/{}-. "}
