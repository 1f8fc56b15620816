"""What a route table becomes for requests."""

from __future__ import annotations

from gateway.discovery import Discovery
from gateway.meters import Meters
from gateway.plan import compile_plan
from gateway.pool import Pools
from gateway.rate_limit import RateLimiter
from gateway.route import parse_route_file
from gateway.route_table import RouteTable
from gateway.service_policy import ServicePolicy
from gateway.timeouts import Timeouts
from shared.data_access.cache_redis import RedisCache

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
    cache, meters = RedisCache("redis://127.0.0.1:9/0"), Meters()
    limiter = RateLimiter((), cache, meters.registry)
    pools = Pools(Discovery(cache, {}, Timeouts()), ServicePolicy())
    (plan,) = compile_plan(file, RouteTable(file.routes), meters, pools, limiter).routes
    counted = [rule.id for rule in plan.limits.by_role["agent"].rules]
    assert counted == ["all", "GET /x principal", "agents"]
    await cache.close()
