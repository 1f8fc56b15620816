"""Composition root of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from socket import gethostname
from typing import Any, Final

import structlog
from opentelemetry import trace
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric

from gateway.access_tokens import AccessTokens
from gateway.admin import Admin
from gateway.api_keys import ApiKeys
from gateway.balancing import Balancer
from gateway.batch import BATCH_PATH
from gateway.batch_schemas import BatchIn, BatchOut
from gateway.checks import Checks
from gateway.client_address import ClientAddress
from gateway.compiled import check_sources, is_compiled
from gateway.cors import Cors
from gateway.descriptions import Descriptions
from gateway.discovery import Discovery
from gateway.edge import Edge, Gates
from gateway.gateway_count import SERVICE as GATEWAYS
from gateway.gateway_count import GatewayCount
from gateway.health import Health
from gateway.idempotency import Idempotency
from gateway.identity import Identity
from gateway.issuer_file import read_issuers
from gateway.meters import Meters
from gateway.metrics_text import families_of, rendered
from gateway.own_routes import OwnCall, OwnRoute
from gateway.page import Page, PageMaker
from gateway.plan import compile_plan
from gateway.pool import Pools
from gateway.proxy import Keeping, Proxy
from gateway.rate_limit import RateLimiter
from gateway.reload import Reload
from gateway.response_cache import ResponseCache
from gateway.revocations import Revocations
from gateway.route import (
    DEFAULT_BODY_LIMIT,
    MAX_TIMEOUT_S,
    RouteFile,
    packaged_routes,
    read_route_file,
)
from gateway.route_table import RouteTable
from gateway.server import EdgeServer
from gateway.service_calls import ServiceCalls
from gateway.service_policy import ServicePolicy
from gateway.siblings import Siblings
from gateway.signing_keys import SigningKeys
from gateway.site import Site
from gateway.timeouts import Timeouts
from gateway.token_issuers import open_issuers
from gateway.tracing import Traces
from gateway.websocket_relay import WebSocketRelay
from gateway.worker_place import WorkerPlace
from gateway.workers import stop_with_parent
from shared.background import running_beside
from shared.config import Config
from shared.data_access.cache_redis import RedisCache
from shared.errors import UpstreamError
from shared.home import internal_token_secret
from shared.registry import announce
from shared.security import SELF, InternalTokens
from shared.server import listen, serving
from shared.stores import store_urls

SERVICES: Final = ("auth", "enrichment", "portrait")
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
        self.meters = Meters()
        self.draining = False
        self.file, self.table = self.read()
        self.issuers = read_issuers(config.gateway_issuers, config.token_issuer)

    def read(self) -> tuple[RouteFile, RouteTable]:
        """The route table as it stands in its file now; ConfigError if it is wrong."""
        config = self.config
        known = {*SERVICES, *config.gateway_upstreams}
        path = config.gateway_routes or packaged_routes()
        file = read_route_file(path, known, self.policy)
        return file, RouteTable(file.routes)

    @asynccontextmanager
    async def running(self, host: str | None = None, port: int | None = None) -> AsyncIterator[str]:
        """Serve inside the block; yields the base URL. Port 0 takes a free one."""
        host = host or self.config.bind_host
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
            edge = await self._open(stack)
            site = Site(
                edge.handle,
                edge.refuse,
                self.timeouts,
                DEFAULT_BODY_LIMIT,
                MAX_TIMEOUT_S + _SLACK_S,
            )
            server = EdgeServer(site)
            await stack.enter_async_context(serving(server, sock, self.config.shutdown_seconds))
            log.info("serving", url=url, routes=len(edge.plan.routes), compiled=is_compiled())
            try:
                yield url
            finally:
                self.draining = site.closing = True
                log.info("draining")
                await asyncio.sleep(self.config.drain_delay_seconds)

    async def _open(self, stack: AsyncExitStack) -> Edge:
        config, meters = self.config, self.meters
        cache = RedisCache(config.redis_url or store_urls(config, {"cache"}).redis)
        stack.push_async_callback(cache.close)
        discovery = Discovery(cache, config.gateway_upstreams, self.timeouts)
        stack.callback(discovery.close)
        tokens = InternalTokens(internal_token_secret(config))
        calls = ServiceCalls(discovery, Balancer(), tokens)
        keys = SigningKeys(partial(_jwks, calls))
        stack.callback(keys.close)
        tokens_of = await open_issuers(stack, self._access_tokens(keys), self.issuers)
        revocations = Revocations(calls, cache)
        api_keys = ApiKeys(calls)
        stack.callback(api_keys.close)
        replicas = config.gateway_replicas * config.gateway_workers
        limiter = RateLimiter((), cache, meters.registry, replicas=replicas)
        stack.push_async_callback(limiter.close)
        await discovery.refresh()
        place = self.worker
        pools = Pools(discovery, self.policy, None if place is None else place.share)
        plan = compile_plan(self.file, self.table, meters, pools, limiter)
        meters.pools.read = lambda: [pool.snapshot() for pool in pools.all()]
        exported = config.otlp_endpoint is not None
        traces = Traces(trace.get_tracer("looma.gateway") if exported else None)
        gates = Gates(
            Identity(tokens_of, api_keys, revocations),
            limiter,
            ClientAddress(config.trusted_proxies),
            Cors(config.cors_origins),
        )
        metrics = partial(self._metrics, pools, keys, revocations)
        work = dict[str, Callable[[], Awaitable[None]]]()
        siblings: Siblings | None = None
        if place is not None:
            siblings = Siblings(place, pools, metrics)
            stack.callback(siblings.close)
            work["metrics for the other workers"] = siblings.metrics.write_forever
            work["news for the other workers"] = siblings.gossip_forever
            stop_with_parent()
        current: list[Edge] = []
        others = None if siblings is None else siblings.inquiries
        admin = Admin(lambda: current[0].plan, pools, limiter, others)

        async def batch(call: OwnCall) -> Any:
            return await current[0].batch(call)

        own = (
            *admin.routes(),
            OwnRoute(
                "POST", BATCH_PATH, SELF, "Many requests in one", batch,
                body_limit=DEFAULT_BODY_LIMIT, body=BatchIn, returns=BatchOut,
            ),
        )  # fmt: skip
        health = Health(
            lambda: current[0].plan.services, discovery, calls, keys, lambda: self.draining
        )
        descriptions = Descriptions(lambda: current[0].plan.table.routes, own, calls)
        pages: dict[str, PageMaker] = {
            "/health": health.health,
            "/ready": health.ready,
            "/metrics": partial(self._metrics_page, metrics, siblings),
            "/openapi.json": descriptions.openapi,
            "/docs": descriptions.docs,
        }
        idempotency = Idempotency(cache, meters.registry)
        stack.push_async_callback(idempotency.close)
        keeping = Keeping(ResponseCache(meters.registry), idempotency)
        proxy = Proxy(tokens, traces, meters, self.timeouts, keeping)
        sockets = WebSocketRelay(proxy, gates.identity, gates.cors, meters, self.timeouts)
        edge = Edge(plan, pages, own, gates, proxy, sockets, meters, self.timeouts.stall)
        current.append(edge)
        mine = None
        if siblings is not None:
            await siblings.learn()
            gossip = siblings.gossip
            mine = lambda: gossip.checks  # noqa: E731 - what it says changes
        checks = Checks(pools, calls, mine)

        def use() -> int:
            file, table = self.read()
            edge.use(compile_plan(file, table, meters, pools, limiter))
            return len(table.routes)

        def reckon_with(gateways: int) -> None:
            limiter.replicas = gateways
            edge.use(compile_plan(edge.plan.file, edge.plan.table, meters, pools, limiter))

        count = GatewayCount(replicas)
        reload = Reload(cache, use)
        stack.enter_context(reload.on_signal())
        await stack.enter_async_context(
            running_beside(
                {
                    **work,
                    "discovery": discovery.refresh_forever,
                    "announcement": partial(self._announce, cache),
                    "other gateways": partial(
                        count.follow_forever, lambda: discovery.gateways, reckon_with
                    ),
                    "health checks": checks.run_forever,
                    "reload": reload.listen_forever,
                    "signing keys": keys.renew_forever,
                    **tokens_of.renewals,
                    "revocations by poll": revocations.poll_forever,
                    "revocations by message": revocations.listen_forever,
                }
            )
        )
        return edge

    async def _announce(self, cache: RedisCache) -> None:
        config = self.config
        url = f"http://{config.advertise_host}:{config.gateway_port}"
        number = 0 if self.worker is None else self.worker.number
        identity = f"{gethostname()}:{config.gateway_port}:{number}"
        await announce(cache, GATEWAYS, url, config.service_version, identity)

    def _access_tokens(self, keys: SigningKeys) -> AccessTokens:
        config = self.config
        return AccessTokens(keys, issuer=config.token_issuer, audience=config.token_audience)

    async def _metrics_page(
        self, own: Callable[[], Iterable[Metric]], siblings: Siblings | None
    ) -> Page:
        page = rendered(families_of(own())) if siblings is None else await siblings.metrics.page()
        return Page(page, content_type=CONTENT_TYPE_LATEST)

    def _metrics(
        self, pools: Pools, keys: SigningKeys, revocations: Revocations
    ) -> Iterable[Metric]:
        meters = self.meters
        meters.circuit.clear()  # instances that are gone
        for pool in pools.all():
            members = pool.members()
            meters.instances.labels(pool.service).set(len(members))
            for one in members:
                meters.circuit.labels(pool.service, one.name).set(one.breaker.state)
        meters.signing_keys_age.set(-1 if keys.age is None else keys.age)
        meters.revocations_age.set(-1 if revocations.age is None else revocations.age)
        return meters.registry.collect()


async def _jwks(calls: ServiceCalls) -> Any:
    status, document = await calls.ask("auth", "GET", "/.well-known/jwks.json")
    if status != 200:
        raise UpstreamError(f"The auth service answers {status} when asked for its keys.")
    return document
