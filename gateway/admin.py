"""What operators see of the gateway: its routes, its pools, its limits (scope gateway:admin)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.limit import Limit
from gateway.own_routes import OwnCall, OwnRoute
from gateway.plan import Plan
from gateway.pool import Pools
from gateway.rate_limit import RateLimiter
from gateway.route import Route

SCOPE: Final = "gateway:admin"


class Admin:
    """Read-only views of one gateway process."""

    def __init__(self, plan: Callable[[], Plan], pools: Pools, limiter: RateLimiter) -> None:
        self._plan = plan
        self._pools = pools
        self._limiter = limiter

    def routes(self) -> tuple[OwnRoute, ...]:
        return (
            OwnRoute("GET", "/api/v1/gateway/routes", SCOPE, "The route table", self._routes),
            OwnRoute(
                "GET",
                "/api/v1/gateway/upstreams",
                SCOPE,
                "Every service's instances with their circuits, weights and load",
                self._upstreams,
            ),
            OwnRoute("GET", "/api/v1/gateway/limits", SCOPE, "The rate limits", self._limits),
        )

    async def _routes(self, _call: OwnCall) -> Any:
        return {"routes": [_route(route) for route in self._plan().table.routes]}

    async def _upstreams(self, _call: OwnCall) -> Any:
        return {"services": [pool.snapshot() for pool in self._pools.all()]}

    async def _limits(self, _call: OwnCall) -> Any:
        plan = self._plan()
        return {
            "counted": "by this process alone" if self._limiter.degraded else "together",
            "roles": {
                role: [_limit(one) for one in limits] for role, limits in plan.file.limits.items()
            },
            "routes": [
                {
                    "method": route.method,
                    "path": route.path,
                    "limits": [_limit(one) for one in route.limits],
                }
                for route in plan.table.routes
                if route.limits
            ],
        }


def _route(route: Route) -> dict[str, Any]:
    return {
        "method": route.method,
        "path": route.path,
        "service": route.service,
        "scope": route.scope,
        "timeout_s": route.timeout,
        "per_try_s": route.per_try,
        "hedge_s": route.hedge,
        "body_limit": route.body_limit,
        "stream": route.stream,
        "priority": route.priority,
        "cache_s": route.cache,
        "idempotent": route.idempotent,
    }


def _limit(limit: Limit) -> dict[str, Any]:
    return {
        "name": limit.name,
        "scope": limit.scope,
        "requests": limit.rate,
        "per_seconds": limit.per_seconds,
        "burst": limit.burst,
        "closed": limit.closed,
        "shared": limit.shared,
    }
