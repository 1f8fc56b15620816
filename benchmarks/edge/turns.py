"""Servers measured in turns: every round has one of each, so that other load meets all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.edge.arena import Figures, reason_kept
from benchmarks.edge.load import Load
from benchmarks.rivals.proxy import Proxy


def in_turns(
    proxies: Mapping[str, Proxy], measure: Callable[[Proxy], Load], rounds: int, figures: Figures
) -> None:
    """Put requests/s, latencies and processor time of each among the figures: medians and means.

    One without a figure has `<name>_missing` instead.
    """
    runs: dict[str, list[tuple[Load, float]]] = {name: [] for name in proxies}
    for turn in range(rounds + 1):
        for name, proxy in proxies.items():
            # The first turn fills caches and lets the interpreter specialise.
            with reason_kept(figures if turn > 0 else {}, name):
                measured = with_cpu(proxy, measure)
                if turn > 0:
                    runs[name].append(measured)
    for name, loads in runs.items():
        if loads:
            figures.update(row(name, Load.median([load for load, _ in loads])))
            figures.update(_cpu_row(name, loads))


def compare(figures: Figures, ours: str, rival: str) -> None:
    """`ratio_<rival>`, of requests/s and of processor time per request; null without a rival."""
    rps = figures.get(f"{rival}_rps")
    figures[f"ratio_{rival}"] = round(figures[f"{ours}_rps"] / rps, 3) if rps else None
    if rps:
        cpu = figures[f"{rival}_cpu_us"] / figures[f"{ours}_cpu_us"]
        figures[f"ratio_{rival}_by_cpu"] = round(cpu, 3)


def with_cpu(proxy: Proxy, measure: Callable[[Proxy], Load]) -> tuple[Load, float]:
    """A run, and the processor time that the proxy took for it."""
    before = proxy.child.cpu_seconds()
    load = measure(proxy)
    return load, proxy.child.cpu_seconds() - before


def row(name: str, load: Load) -> Figures:
    return {
        f"{name}_rps": round(load.rps),
        f"{name}_p50_ms": round(load.p50_ms, 3),
        f"{name}_p99_ms": round(load.p99_ms, 3),
    }


def _cpu_row(name: str, loads: list[tuple[Load, float]]) -> Figures:
    cpu = sum(seconds for _, seconds in loads)
    return {
        f"{name}_cpu_us": round(1e6 * cpu / sum(load.requests for load, _ in loads), 1),
        f"{name}_core": round(cpu / sum(load.seconds for load, _ in loads), 2),
    }
