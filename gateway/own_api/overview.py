"""The pools of several workers as one: what operators ask about is the service, not a process.

Loads and counts are added up. Circuits, ejections and health are the same in all workers but for
the moment in which a message is under way: of two that differ, the worse is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

_SUMMED: Final = (
    "in_flight", "limit", "streams", "streams_limit", "retried", "hedged", "ejections",
)  # fmt: skip
_STATES: Final = ("closed", "half_open", "open")


def together(workers: Iterable[Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One snapshot of a pool for each service; the first worker's where nothing is to be added."""
    services: dict[str, list[Mapping[str, Any]]] = {}
    for pools in workers:
        for pool in pools:
            services.setdefault(str(pool["service"]), []).append(pool)
    return [_pool(several) for _, several in sorted(services.items())]


def _pool(several: list[Mapping[str, Any]]) -> dict[str, Any]:
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
    merged["instances"] = [_instance(seen) for seen in instances.values()]
    return merged


def _instance(seen: list[Mapping[str, Any]]) -> dict[str, Any]:
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
