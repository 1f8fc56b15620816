"""Composition root of the gateway: opens its parts and connects them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from socket import gethostname
from typing import Final

import structlog
from opentelemetry import trace
from prometheus_client.metrics_core import Metric

from gateway.api_docs.pages import Descriptions
from gateway.api_docs.viewer import viewer_pages
from gateway.auth.authentication import Authentication, open_authentication
from gateway.auth.issuer_file import read_issuers
from gateway.compiled import check_sources, is_compiled
from gateway.downstream.busy_poll import BusyPoll
from gateway.downstream.handler import Handler
from gateway.downstream.server import EdgeServer
from gateway.edge import Edge
from gateway.http.client_address import ClientAddress
from gateway.http.cors import Cors
from gateway.limits.rate_limiter import RateLimiter
from gateway.limits.replicas import Replicas
from gateway.own_api.admin import Admin
from gateway.own_api.batch_items import BATCH_LIMIT, BATCH_PATH
from gateway.own_api.batch_schemas import BatchIn, BatchOut
from gateway.own_api.health import Health
from gateway.own_api.page import OwnPage, Page
from gateway.own_api.routes import OwnRoute
from gateway.own_api.scrapers import Scrapers
from gateway.own_api.targets import Targets
from gateway.proxy.admission import Gates
from gateway.proxy.idempotency import Idempotency
from gateway.proxy.proxy import Kept, Proxy
from gateway.proxy.response_cache import ResponseCache
from gateway.routing.packaged import packaged_route_file
from gateway.routing.plan import Plans
from gateway.routing.reload import Reload
from gateway.routing.route import DEFAULT_BODY_LIMIT, MAX_TIMEOUT_S
from gateway.routing.route_file import RouteFile, read_route_file
from gateway.routing.table import RouteTable
from gateway.telemetry.exposition import content_type, families_of, rendered
from gateway.telemetry.metrics import Meters, PoolCollector
from gateway.telemetry.tracing import Traces
from gateway.timeouts import Timeouts
from gateway.upstream.active_checks import ActiveChecks
from gateway.upstream.discovery import GATEWAYS, Discovery
from gateway.upstream.policy import ServicePolicy
from gateway.upstream.pool import Pools
from gateway.upstream.service_calls import ServiceCalls
from gateway.websocket.relay import WebSocketRelay
from gateway.workers.log_file import keep_to
from gateway.workers.peers import Peers
from gateway.workers.supervisor import stop_with_parent
from gateway.workers.worker import WorkerPlace
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.data_access.ports import Cache
from shared.gateway_reload import last_reload
from shared.secrets import internal_token_secret
from shared.security import SELF, InternalTokens
from shared.services import SERVICE_NAMES
from shared.serving.access_log import AccessLog
from shared.serving.background import running_beside
from shared.serving.registry import announce
from shared.serving.server import handed_over, listen, serving
from shared.store_urls import store_urls

_SLACK_S: Final = 90.0  # beyond a route's timeout, for what comes before and after it
log = structlog.get_logger()


def create_gateway(
    config: Config,
    timeouts: Timeouts | None = None,
    policy: ServicePolicy | None = None,
    *,
    worker: WorkerPlace | None = None,
) -> Gateway:
    """The gateway of this configuration; ConfigError for a wrong route table.

    `policy` is how services are treated that the route table says nothing of; `worker` is the
    place of this process if it shares its port with others.
    """
    check_sources()
    return Gateway(config, timeouts or Timeouts(), policy or ServicePolicy(), worker)


class Gateway:
    """One gateway process: `running` serves it."""

    name = "gateway"

    def __init__(
        self, config: Config, timeouts: Timeouts, policy: ServicePolicy, worker: WorkerPlace | None
    ) -> None:
        self.config = config
        self.worker = worker
        self.timeouts = timeouts
        self.policy = policy
        self.meters = Meters(config.metrics_organisations)
        self.draining = False
        self.issuers = read_issuers(config.gateway_issuers, config.token_issuer)
        self.read()

    def read(self) -> tuple[RouteFile, RouteTable]:
        """The route table as it stands in its file now; ConfigError if it is wrong."""
        config = self.config
        if config.gateway_routes is None:
            file = packaged_route_file(self.policy)
        else:
            known = {*SERVICE_NAMES, *config.gateway_upstreams}
            file = read_route_file(config.gateway_routes, known, self.policy)
        return file, RouteTable(file.routes)

    @asynccontextmanager
    async def running(self, host: str | None = None, port: int | None = None) -> AsyncIterator[str]:
        """Serve inside the block; yields the base URL. Port 0 takes a free one."""
        host = host or self.config.bind_host
        if port is None and self.config.listen_fd is not None:
            sock = handed_over(self.config.listen_fd)
        else:
            sock = listen(
                host,
                self.config.gateway_port if port is None else port,
                "GATEWAY_PORT",
                shared=self.worker is not None,
            )
        url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{sock.getsockname()[1]}"  # noqa: S104 - compared, not bound
        self.draining = False
        async with AsyncExitStack() as stack:
            stack.callback(sock.close)
            edge, plans = await self._open(stack)
            handler = Handler(
                edge.handle,
                edge.refuse,
                self.timeouts,
                DEFAULT_BODY_LIMIT,
                MAX_TIMEOUT_S + _SLACK_S,
                BusyPoll(self.config.gateway_busy_poll_us / 1e6),
            )
            server = EdgeServer(handler)
            await stack.enter_async_context(serving(server, sock, self.config.shutdown_seconds))
            log.info("serving", url=url, routes=len(plans.current.routes), compiled=is_compiled())
            try:
                yield url
            finally:
                self.draining = handler.closing = True
                log.info("draining")
                await asyncio.sleep(self.config.drain_delay_seconds)

    async def _open(self, stack: AsyncExitStack) -> tuple[Edge, Plans]:
        config, meters = self.config, self.meters
        cache = RedisCache(config.redis_url or store_urls(config, {"cache"}).redis)
        stack.push_async_callback(cache.close)
        discovery = Discovery(cache, config.gateway_upstreams, self.timeouts)
        stack.callback(discovery.close)
        internal = InternalTokens(internal_token_secret(config))
        calls = ServiceCalls(discovery, internal)
        authentication = await open_authentication(stack, config, self.issuers, calls, cache)
        processes = config.gateway_replicas * config.gateway_workers
        limiter = RateLimiter(cache, meters.registry, replicas=processes)
        stack.push_async_callback(limiter.close)
        await discovery.refresh()
        asked = await last_reload(cache)

        pools = Pools(discovery, self.policy, None if self.worker is None else self.worker.share)
        PoolCollector(meters.registry, lambda: [pool.snapshot() for pool in pools.all()])
        plans = Plans(self.read, meters, pools, limiter)
        metrics = partial(self._metrics, pools, authentication)
        peers = self._peers(stack, pools, metrics)

        gates = Gates(
            authentication.identity,
            limiter,
            ClientAddress(config.trusted_proxies),
            Cors(config.cors_origins),
        )
        proxy = self._proxy(stack, internal, cache)
        sockets = WebSocketRelay(proxy, gates.identity, gates.cors, meters, self.timeouts)
        scrapers = Scrapers(config.metrics_networks, gates.addresses, gates.identity)
        traces = Traces(trace.get_tracer("looma.gateway") if config.otlp_endpoint else None)
        edge = Edge(
            plans, gates, proxy, sockets, meters, scrapers, traces, self.timeouts.stall,
            AccessLog(config.log_level),
        )  # fmt: skip
        admin = Admin(plans, pools, limiter, None if peers is None else peers.others)
        own = (*admin.routes(), _batch_route(edge))
        descriptions = Descriptions(lambda: plans.current.table.routes, own, calls)
        stack.callback(descriptions.close)
        health = Health(
            lambda: plans.current.services,
            discovery,
            calls,
            authentication.keys,
            lambda: self.draining,
        )
        stack.callback(health.close)
        scraped = OwnPage(
            partial(self._metrics_page, metrics, peers, openmetrics=False),
            limited=False,
            guarded=True,
            openmetrics=partial(self._metrics_page, metrics, peers, openmetrics=True),
        )
        pages = _pages(health, descriptions, Targets(discovery), scraped)
        edge.answer_itself(pages, own)

        work = self._work(stack, cache, discovery, Reload(cache, plans.reload, asked), plans)
        checks = ActiveChecks(pools, calls, None if peers is None else peers.makes_checks)
        work |= {"health checks": checks.run_forever, **authentication.work}
        if peers is not None:
            await peers.learn()
            work |= {**peers.work, "log file": partial(keep_to, config.home / "logs/gateway.log")}
        await stack.enter_async_context(running_beside(work))
        return edge, plans

    def _peers(
        self, stack: AsyncExitStack, pools: Pools, metrics: Callable[[], Iterable[Metric]]
    ) -> Peers | None:
        """The other workers of this port; None if it is served by this process alone."""
        if self.worker is None:
            return None
        peers = Peers(self.worker, pools, metrics)
        stack.callback(peers.close)
        stop_with_parent()
        return peers

    def _proxy(self, stack: AsyncExitStack, internal: InternalTokens, cache: Cache) -> Proxy:
        meters = self.meters
        idempotency = Idempotency(cache, meters.registry)
        stack.push_async_callback(idempotency.close)
        kept = Kept(ResponseCache(meters.registry), idempotency)
        return Proxy(internal, meters, self.timeouts, kept)

    def _work(
        self,
        stack: AsyncExitStack,
        cache: Cache,
        discovery: Discovery,
        reload: Reload,
        plans: Plans,
    ) -> dict[str, Callable[[], Awaitable[None]]]:
        """What keeps this process and its place among others up to date, by name."""
        stack.enter_context(reload.on_signal())
        config = self.config
        count = Replicas(config.gateway_replicas * config.gateway_workers)
        return {
            "discovery": discovery.refresh_forever,
            "who comes and goes": discovery.hear_forever,
            "announcement": partial(self._announce, cache),
            "other gateways": partial(
                count.follow_forever, lambda: discovery.gateways, plans.reckon_with
            ),
            "reload": reload.listen_forever,
            "reloads that were missed": reload.catch_up_forever,
        }

    async def _announce(self, cache: Cache) -> None:
        config = self.config
        url = f"http://{config.advertise_host}:{config.gateway_port}"
        number = 0 if self.worker is None else self.worker.number
        identity = f"{gethostname()}:{config.gateway_port}:{number}"
        await announce(cache, GATEWAYS, url, config.service_version, identity)

    async def _metrics_page(
        self, own: Callable[[], Iterable[Metric]], peers: Peers | None, *, openmetrics: bool
    ) -> Page:
        if peers is None:
            page = rendered(families_of(own()), openmetrics=openmetrics)
        else:
            page = await peers.metrics.page(openmetrics=openmetrics)
        return Page(page, content_type(openmetrics=openmetrics))

    def _metrics(self, pools: Pools, authentication: Authentication) -> Iterable[Metric]:
        meters = self.meters
        meters.circuit.clear()  # instances that are gone
        for pool in pools.all():
            members = pool.members()
            meters.instances.labels(pool.service).set(len(members))
            for one in members:
                meters.circuit.labels(pool.service, one.name).set(one.breaker.state)
        keys, revocations = authentication.keys, authentication.revocations
        meters.signing_keys_age.set(-1 if keys.age is None else keys.age)
        meters.revocations_age.set(-1 if revocations.age is None else revocations.age)
        return meters.registry.collect()


def _pages(
    health: Health, descriptions: Descriptions, targets: Targets, metrics: OwnPage
) -> dict[str, OwnPage]:
    """What the gateway answers itself, by its path; guarded pages are for those who scrape."""
    return {
        "/health": OwnPage(health.health, limited=False),
        "/ready": OwnPage(health.ready, limited=False),
        "/metrics": metrics,
        "/internal/targets": OwnPage(targets.page, limited=False, guarded=True),
        "/openapi.json": OwnPage(descriptions.openapi),
        **viewer_pages(),
    }


def _batch_route(edge: Edge) -> OwnRoute:
    return OwnRoute(
        "POST",
        BATCH_PATH,
        SELF,
        "Many requests in one",
        edge.batch,
        body_limit=BATCH_LIMIT,
        body=BatchIn,
        returns=BatchOut,
    )
