"""One gateway process's rate limiter under fire: `python -m tests.gateway.limit_worker …`.

Prints a line when it could begin, reads the time when it shall from a line of its input, and prints
what it did as one line of JSON.
"""

from __future__ import annotations

import asyncio
import sys
import time

import orjson
import uvloop
from prometheus_client import CollectorRegistry

from gateway.auth.caller import Caller
from gateway.limits.limit import parse_limits
from gateway.limits.rate_limiter import LimitedRoute, RateLimiter
from shared.data_access.cache.redis import RedisCache
from shared.errors import TooManyRequests
from shared.security import ANONYMOUS

ORIGIN = 1735689600  # the TAT counts from 2025


def limited(limiter: RateLimiter, *texts: str, path: str = "/api/v1/things") -> LimitedRoute:
    """A route with these limits."""
    return limiter.compile("GET", path, parse_limits(texts, path, signed_in=True))


async def hammer(url: str, text: str, processes: int, seconds: float) -> None:
    cache, registry = RedisCache(url), CollectorRegistry()
    # A budget beyond what a loaded test machine takes: what is measured is exactness.
    limiter = RateLimiter(cache, registry, replicas=processes, budget=2.0)
    route, caller = limited(limiter, text), Caller(ANONYMOUS)
    made = allowed = 0
    start = first = last = 0.0

    async def client() -> None:
        nonlocal made, allowed, first, last
        while time.time() < start + seconds:
            made += 1
            try:
                await limiter.count(route, caller, "192.0.2.1")
            except TooManyRequests:
                if made % 50 == 0:
                    await asyncio.sleep(0)
                continue
            allowed += 1
            last = time.time()
            first = first or last

    await cache.ping()
    print("ready", flush=True)
    start = float(sys.stdin.readline())
    await asyncio.sleep(start - time.time())
    await asyncio.gather(*(client() for _ in range(16)))
    (stored,) = (await cache.scan("limit:")).values()
    report = {
        "allowed": allowed,
        "made": made,
        "trips": registry.get_sample_value("rate_limit_round_trips_total"),
        "first": first,
        "last": last,
        "taken_until": float(stored) / 1e6 + ORIGIN,  # Redis's clock is this machine's
        "degraded": limiter.degraded,
    }
    print(orjson.dumps(report).decode())
    await limiter.close()
    await cache.close()


if __name__ == "__main__":
    where, limit, many, duration = sys.argv[1:]
    uvloop.run(hammer(where, limit, int(many), float(duration)))
