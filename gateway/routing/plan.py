"""The plan: the route table compiled, with all that a request needs of its route at hand.

A plan is immutable; a reload makes a new one, and `Plans` swaps it as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.limits.limit import Limit
from gateway.limits.rate_limiter import LimitedRoute, RateLimiter
from gateway.resilience.deadline import TimeLimits
from gateway.resilience.shedding import Priority, Shedder
from gateway.routing.route import Route
from gateway.routing.route_file import RouteFile
from gateway.routing.table import RouteTable
from gateway.telemetry.metrics import Meters, RouteMeter
from gateway.upstream.hedging import HedgePolicy
from gateway.upstream.pool import Pool, Pools
from shared.security import ANONYMOUS, PUBLIC, USER_ROLES

OWN: Final = "(gateway)"  # the route label of limits that are no route's own


@dataclass(frozen=True, slots=True)
class RoleLimits:
    """The limits of one route by the caller's role."""

    public: LimitedRoute | None  # for callers who are not known
    by_role: Mapping[str, LimitedRoute]  # of the signed in; a role without any is missing


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """One route with its pool, meter, deadlines, limits."""

    route: Route
    meter: RouteMeter
    pool: Pool
    shedder: Shedder
    priority: Priority
    times: TimeLimits
    hedge: HedgePolicy | None
    keyed: bool  # its service is balanced by caller
    limits: RoleLimits


@dataclass(frozen=True, slots=True)
class Plan:
    """All routes of one version of the route file."""

    file: RouteFile
    table: RouteTable
    routes: tuple[RoutePlan, ...]
    own: RoleLimits  # of what the gateway answers itself, and of what no route matches

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(sorted({route.service for route in self.table.routes}))


class Plans:
    """Holds the `current` plan and replaces it as a whole; requests under way end as they began."""

    def __init__(
        self,
        read: Callable[[], tuple[RouteFile, RouteTable]],
        meters: Meters,
        pools: Pools,
        limiter: RateLimiter,
    ) -> None:
        self._read = read
        self._meters = meters
        self._pools = pools
        self._limiter = limiter
        self.current = self._compiled(*read())

    def reload(self) -> int:
        """Read and compile the route file anew, and put it into force; the number of its routes.

        ConfigError if it is wrong: nothing has changed then.
        """
        self.current = self._compiled(*self._read())
        return len(self.current.routes)

    def reckon_with(self, gateways: int) -> None:
        """Count limits as one of so many processes."""
        self._limiter.replicas = gateways
        self.current = self._compiled(self.current.file, self.current.table)

    def _compiled(self, file: RouteFile, table: RouteTable) -> Plan:
        return compile_plan(file, table, self._meters, self._pools, self._limiter)


def compile_plan(
    file: RouteFile, table: RouteTable, meters: Meters, pools: Pools, limiter: RateLimiter
) -> Plan:
    """The plan of a route file; counts and pools that there are already go on."""
    return Plan(
        file,
        table,
        tuple(
            _route_plan(
                route,
                meters.route(route.method, route.path, route.service),
                file,
                pools.of(route.service, file.services.get(route.service)),
                limiter,
            )
            for route in table.routes
        ),
        _role_limits("*", OWN, (), file, limiter),
    )


def _route_plan(
    route: Route, meter: RouteMeter, file: RouteFile, pool: Pool, limiter: RateLimiter
) -> RoutePlan:
    return RoutePlan(
        route,
        meter,
        pool,
        pool.streams if route.stream else pool.shedder,
        Priority.BATCH if route.priority == "batch" else Priority.INTERACTIVE,
        TimeLimits(route.timeout, route.per_try),
        HedgePolicy(route.hedge) if route.hedge is not None else None,
        pool.policy.balance == "hash",
        _role_limits(route.method, route.path, route.limits, file, limiter),
    )


def _role_limits(
    method: str, path: str, own: tuple[Limit, ...], file: RouteFile, limiter: RateLimiter
) -> RoleLimits:
    def limited(role: str) -> LimitedRoute | None:
        # One that both name is counted once.
        limits = tuple(dict.fromkeys(own + file.limits.get(role, ())))
        return limiter.compile(method, path, limits) if limits else None

    public = limited(PUBLIC)
    roles = {role: limited(role) for role in USER_ROLES}
    # Somebody else's token may give its bearer no role here.
    roles[ANONYMOUS.role] = public
    return RoleLimits(public, {role: one for role, one in roles.items() if one is not None})
