"""What a route table becomes for requests."""

from __future__ import annotations

from gateway.limits.rate_limiter import RateLimiter
from gateway.routing.plan import compile_plan
from gateway.routing.route_file import parse_route_file
from gateway.routing.table import RouteTable
from gateway.telemetry.metrics import Meters
from gateway.timeouts import Timeouts
from gateway.upstream.discovery import Discovery
from gateway.upstream.policy import ServicePolicy
from gateway.upstream.pool import Pools
from shared.data_access.cache.redis import RedisCache

ALL = "all: organisation 9/s"
DOCUMENT = {
    "limits": {"agent": ["agents: principal 5/s", ALL]},
    "portrait": {
        "routes": [
            {"method": "GET", "path": "/x", "scope": "self", "limits": [ALL, "principal 1/s"]}
        ]
    },
}


async def test_a_limit_that_route_and_role_both_name_is_counted_once() -> None:
    file = parse_route_file(DOCUMENT, ["portrait"], source="routes.toml")
    cache, meters = RedisCache("redis://127.0.0.1:9/0"), Meters(2)
    limiter = RateLimiter(cache, meters.registry)
    pools = Pools(Discovery(cache, {}, Timeouts()), ServicePolicy())
    (plan,) = compile_plan(file, RouteTable(file.routes), meters, pools, limiter).routes
    counted = [rule.id for rule in plan.limits.by_role["agent"].rules]
    assert counted == ["all", "GET /x principal", "agents"]
    await cache.close()
