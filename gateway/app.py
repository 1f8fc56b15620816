"""Composition root of the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog
from opentelemetry import trace
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.access_tokens import AccessTokens
from gateway.api_keys import ApiKeys
from gateway.background import running_beside
from gateway.balancing import Balancer
from gateway.descriptions import Descriptions
from gateway.discovery import Discovery
from gateway.edge import Edge
from gateway.health import Health
from gateway.identity import Identity
from gateway.meters import Meters
from gateway.page import Page, PageMaker
from gateway.proxy import Proxy
from gateway.revocations import Revocations
from gateway.route import DEFAULT_BODY_LIMIT, Route, packaged_routes, read_routes
from gateway.route_table import RouteTable
from gateway.server import EdgeServer
from gateway.service_calls import ServiceCalls
from gateway.signing_keys import SigningKeys
from gateway.timeouts import Timeouts
from gateway.tracing import Traces
from shared.config import Config
from shared.data_access.cache_redis import RedisCache
from shared.errors import UpstreamError
from shared.home import internal_token_secret
from shared.security import InternalTokens
from shared.server import listen, serving
from shared.stores import store_urls

SERVICES: Final = ("auth", "enrichment", "portrait")
log = structlog.get_logger()


def create_gateway(config: Config, timeouts: Timeouts | None = None) -> Gateway:
    """The gateway of this configuration; ConfigError for a wrong route table."""
    known = {*SERVICES, *config.gateway_upstreams}
    routes = read_routes(config.gateway_routes or packaged_routes(), known)
    return Gateway(config, routes, timeouts or Timeouts())


class Gateway:
    """One gateway process: `running` serves it."""

    name = "gateway"

    def __init__(self, config: Config, routes: tuple[Route, ...], timeouts: Timeouts) -> None:
        self.config = config
        self.timeouts = timeouts
        self.table = RouteTable(routes)
        self.meters = Meters()
        self.draining = False

    @asynccontextmanager
    async def running(self, host: str | None = None, port: int | None = None) -> AsyncIterator[str]:
        """Serve inside the block; yields the base URL. Port 0 takes a free one."""
        host = host or self.config.bind_host
        sock = listen(host, self.config.gateway_port if port is None else port, "GATEWAY_PORT")
        url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{sock.getsockname()[1]}"  # noqa: S104 - compared, not bound
        self.draining = False
        async with AsyncExitStack() as stack:
            stack.callback(sock.close)
            edge = await self._open(stack)
            server = EdgeServer(
                edge.handle,
                edge.fail,
                longest_answer=max(route.timeout for route in self.table.routes),
                body_limit=DEFAULT_BODY_LIMIT,
            )
            await stack.enter_async_context(serving(server, sock, self.config.shutdown_seconds))
            log.info("serving", url=url, routes=len(self.table.routes))
            try:
                yield url
            finally:
                self.draining = True
                log.info("draining")

    async def _open(self, stack: AsyncExitStack) -> Edge:
        cache = RedisCache(self.config.redis_url or store_urls(self.config, {"cache"}).redis)
        stack.push_async_callback(cache.close)
        discovery = Discovery(cache, self.config.gateway_upstreams, self.timeouts)
        stack.callback(discovery.close)
        balancer, tokens = Balancer(), InternalTokens(internal_token_secret(self.config))
        calls = ServiceCalls(discovery, balancer, tokens)
        keys = SigningKeys(partial(_jwks, calls))
        stack.callback(keys.close)
        revocations = Revocations(calls, cache)
        api_keys = ApiKeys(calls)
        stack.callback(api_keys.close)
        await discovery.refresh()
        await stack.enter_async_context(
            running_beside(
                {
                    "discovery": discovery.refresh_forever,
                    "signing keys": keys.renew_forever,
                    "revocations by poll": revocations.poll_forever,
                    "revocations by message": revocations.listen_forever,
                }
            )
        )
        health = Health(self._services(), discovery, calls, keys, lambda: self.draining)
        descriptions = Descriptions(self.table.routes, calls)
        pages: dict[str, PageMaker] = {
            "/health": health.health,
            "/ready": health.ready,
            "/metrics": partial(self._metrics_page, discovery, keys, revocations),
            "/openapi.json": descriptions.openapi,
            "/docs": descriptions.docs,
        }
        identity = Identity(self._access_tokens(keys), api_keys, revocations)
        exported = self.config.otlp_endpoint is not None
        traces = Traces(trace.get_tracer("looma.gateway") if exported else None)
        proxy = Proxy(discovery, balancer, tokens, traces, self.meters, self.timeouts)
        return Edge(self.table, pages, identity, proxy, self.meters, self.timeouts.linger)

    def _services(self) -> frozenset[str]:
        return frozenset(route.service for route in self.table.routes)

    def _access_tokens(self, keys: SigningKeys) -> AccessTokens:
        config = self.config
        return AccessTokens(keys, issuer=config.token_issuer, audience=config.token_audience)

    async def _metrics_page(
        self, discovery: Discovery, keys: SigningKeys, revocations: Revocations
    ) -> Page:
        meters = self.meters
        for service in self._services():
            meters.instances.labels(service).set(len(discovery.of(service)))
        meters.signing_keys_age.set(-1 if keys.age is None else keys.age)
        meters.revocations_age.set(-1 if revocations.age is None else revocations.age)
        return Page(generate_latest(meters.metrics.registry), content_type=CONTENT_TYPE_LATEST)


async def _jwks(calls: ServiceCalls) -> Any:
    status, document = await calls.ask("auth", "GET", "/.well-known/jwks.json")
    if status != 200:
        raise UpstreamError(f"The auth service answers {status} when asked for its keys.")
    return document
