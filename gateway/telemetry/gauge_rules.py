"""What a gauge of several workers is as one: their sum, or the one that is worst."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

Rule = Callable[[Iterable[float]], float]

# Whatever is not named here is the greatest of the workers'.
GAUGES: Final[Mapping[str, Rule]] = {
    "circuit_state": max,  # the worst: 2 is open
    "gateway_revocations_age_seconds": max,  # -1, never, only if that holds for all
    "gateway_signing_keys_age_seconds": max,
    "gateway_streams_in_flight": sum,
    "gateway_upstream_in_flight": sum,
    "gateway_upstream_instances": max,  # all see the same ones, some a moment later
    "gateway_websockets": sum,
    "http_requests_in_flight": sum,
    "process_max_fds": min,  # who has the least runs out first
    "process_open_fds": max,  # beside process_max_fds: both are of one process
    "process_resident_memory_bytes": sum,
    "process_start_time_seconds": min,  # since when this port is served
    "process_virtual_memory_bytes": sum,
    "python_info": max,
    "rate_limit_degraded": max,  # 1 if any worker counts alone
    "response_cache_bytes": sum,
}


def gauge_rule(name: str) -> Rule:
    return min if name.endswith("_created") else GAUGES.get(name, max)
