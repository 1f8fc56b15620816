"""Operators' views of the gateway: routes, pools, limits (scope gateway:admin).

With several workers, the one that is asked asks the others: `workers` says how many there should be
and how many were heard in time. Their pools are shown as one, as operators ask about a service, not
a process: loads and counts are added up. Circuits, ejections and health are the same in all workers
but for the moment in which a message is under way: of two that differ, the worse is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from gateway.limits.limit import Limit
from gateway.limits.rate_limiter import RateLimiter
from gateway.own_api.routes import OwnCall, OwnRoute
from gateway.routing.plan import Plans
from gateway.routing.route import Route
from gateway.upstream.pool import Pools
from gateway.workers.scatter_gather import ScatterGather

SCOPE: Final = "gateway:admin"
_ROUTES: Final = "routes"
_POOLS: Final = "pools"
_LIMITS: Final = "limits"
_SUMMED: Final = (
    "in_flight", "limit", "streams", "streams_limit", "retried", "hedged", "ejections",
)  # fmt: skip
_STATES: Final = ("closed", "half_open", "open")


class Admin:
    """Read-only views of all workers; of this process alone without `others`."""

    def __init__(
        self,
        plans: Plans,
        pools: Pools,
        limiter: RateLimiter,
        others: ScatterGather | None = None,
    ) -> None:
        self._plans = plans
        self._pools = pools
        self._limiter = limiter
        self._others = others
        if others is not None:
            others.answer(_ROUTES, lambda: orjson.dumps(self._table_mark()))
            others.answer(_POOLS, lambda: orjson.dumps(self._snapshots()))
            others.answer(_LIMITS, lambda: orjson.dumps(self._limiter.degraded))

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
        marks, workers = await self._all(_ROUTES, self._table_mark())
        return {
            "routes": self._table(),
            # Fewer than were heard: a worker has not taken the table that is shown, or a newer one.
            "workers": {**workers, "same_table": marks.count(marks[0])},
        }

    async def _upstreams(self, _call: OwnCall) -> Any:
        snapshots, workers = await self._all(_POOLS, self._snapshots())
        return {"services": together(snapshots), "workers": workers}

    async def _limits(self, _call: OwnCall) -> Any:
        plan = self._plans.current
        alone, workers = await self._all(_LIMITS, self._limiter.degraded)
        return {
            "counted": "by each process alone" if any(alone) else "together",
            "workers": {**workers, "alone": sum(alone)},
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

    async def _all(self, question: str, own: Any) -> tuple[list[Any], dict[str, int]]:
        """The answers of all workers that were heard, this one's first, and how many those are."""
        if self._others is None:
            return [own], {"known": 1, "heard": 1}
        said = await self._others.ask(question)
        answers = [own, *(orjson.loads(said[number]) for number in sorted(said))]
        return answers, {"known": self._others.workers, "heard": len(answers)}

    def _table(self) -> list[dict[str, Any]]:
        return [_route(route) for route in self._plans.current.table.routes]

    def _table_mark(self) -> str:
        return hashlib.sha256(orjson.dumps(self._table())).hexdigest()

    def _snapshots(self) -> list[dict[str, Any]]:
        return [pool.snapshot() for pool in self._pools.all()]


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
        "websocket": route.websocket,
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


def together(workers: Iterable[Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One snapshot of a pool for each service; the first worker's where nothing is to be added."""
    services: dict[str, list[Mapping[str, Any]]] = {}
    for pools in workers:
        for pool in pools:
            services.setdefault(str(pool["service"]), []).append(pool)
    return [_merged_pool(several) for _, several in sorted(services.items())]


def _merged_pool(several: list[Mapping[str, Any]]) -> dict[str, Any]:
    merged = dict(several[0])
    for name in _SUMMED:
        merged[name] = sum(one.get(name, 0) for one in several)
    merged["panicking"] = any(one["panicking"] for one in several)
    merged["shed"] = {
        priority: sum(one["shed"].get(priority, 0) for one in several)
        for priority in merged["shed"]
    }
    instances: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in several:
        for instance in one["instances"]:
            key = (str(instance["url"]), str(instance["id"]))
            instances.setdefault(key, []).append(instance)
    merged["instances"] = [_merged_instance(seen) for seen in instances.values()]
    return merged


def _merged_instance(seen: list[Mapping[str, Any]]) -> dict[str, Any]:
    merged = dict(seen[0])
    merged["in_flight"] = sum(one["in_flight"] for one in seen)
    merged["latency_ms"] = max(one["latency_ms"] for one in seen)
    merged["routed"] = any(one["routed"] for one in seen)
    verdicts = [one["healthy"] for one in seen if one["healthy"] is not None]
    merged["healthy"] = all(verdicts) if verdicts else None
    merged["ejected_for_s"] = max(one["ejected_for_s"] for one in seen)
    circuits = [one["circuit"] for one in seen]
    worst = max(circuits, key=lambda one: _STATES.index(one["state"]))
    merged["circuit"] = {
        "state": worst["state"],
        "requests": sum(one["requests"] for one in circuits),
        "failures": sum(one["failures"] for one in circuits),
        "consecutive": max(one["consecutive"] for one in circuits),
        "opened": max(one["opened"] for one in circuits),
        "retry_in_s": max(one["retry_in_s"] for one in circuits),
    }
    return merged
