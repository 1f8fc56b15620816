"""How fast the gateway is beside Envoy, LiteLLM and a naive proxy, on one core.

The proxy has one core; the upstream and the load share another; everything is on loopback.
Throughput is wrk with 32 keep-alive connections and 230-byte answers, in rounds in which every
proxy has its turn; figures are medians over the rounds. The gateway is the real process with
everything on: EdDSA tokens from a JWKS, scopes, internal tokens, revocations, metrics, tracing.

ratio_*            the gateway's requests/s over the rival's; null where that doesn't take part
ratio_*_by_cpu     the same from the processor time per request: what an undisturbed core would show
*_missing          why something has no figure
*_cpu_us           processor time of the proxy per request: little disturbed by other load
*_core             share of its core that the proxy used; far below 1 it was not the limit
other_load_cores   cores that processes of others used meanwhile: above 0.1, measure again
stolen_cores       cores that the hypervisor gave to other machines meanwhile: likewise
added_p50_ms       one connection: the gateway's median minus that of the upstream alone, in the
                   seconds in which the hypervisor took least
p99_half_load_ms   at half of what the gateway carried a second before, as an open loop (see
                   edge/pace.py), in those seconds in which this machine's cores stood still
                   least (see edge/stalls.py); p99_half_load_all_ms is of all seconds. The same
                   without a gateway (upstream_alone_*) is the floor, envoy_* is Envoy at that rate
*_stalled_ms_per_s how long the cores stood still meanwhile: above 0 a p99 is the machine's more
                   than the proxy's; null where nobody may watch (see half_load_first), and then
                   all seconds count
half_load_first    whether the load and the upstream went before all else on their core
*_varied_*         no two requests have the same header fields; ratio_envoy_varied compares them
gateway_compiled   whether the gateway's hot path ran as machine code
sse_*              event streams held open by a fresh gateway, memory of all its workers
routes_growth,     median latency with so many routes (half of them templates) or principals,
principals_growth  drawn at random for each request, over that with ten of them drawn in the same
                   way; *_by_cpu from processor time per request, *_paced at a fixed rate
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Final
from uuid import UUID

from benchmarks.edge.arena import SMALL, Arena, Figures, Plan, build, reason_kept, request
from benchmarks.edge.host import Host, NotMeasured, OtherLoad, open_files, stolen_seconds
from benchmarks.edge.load import Load
from benchmarks.edge.pace import Paced, calm, calmest, pace, visit
from benchmarks.edge.stalls import watched
from benchmarks.edge.streams import hold
from benchmarks.edge.turns import compare, in_turns, row, with_cpu
from benchmarks.rivals import looma
from benchmarks.rivals.proxy import Proxy
from gateway.compiled import is_compiled

QUICK: Final = Plan(
    rounds=1, seconds=1, calm_seconds=1, streams=500, routes=1_000, principals=2_000,
    start=25, longest=50,
)  # fmt: skip
FULL: Final = Plan(
    rounds=5, seconds=3, calm_seconds=6, streams=10_000, routes=1_000, principals=100_000,
    start=60, longest=720,
)  # fmt: skip
_RATIOS: Final = ("envoy", "envoy_filters", "litellm")
_ALWAYS_SHOWN: Final = (*(f"ratio_{name}" for name in _RATIOS), "added_p50_ms", "p99_half_load_ms")
_FEW: Final = 10  # routes or principals that many are compared with
_ALONE_SECONDS: Final = 3  # for each round
_MOST_TIMES: Final = 8  # seconds tried for each that shall be calm
_FEWEST_STREAMS: Final = 500
_SPREAD: Final = 1.1
_FILES_PER_STREAM: Final = 2  # one to the client, one to the service


def run(*, quick: bool) -> Figures:
    plan = QUICK if quick else FULL
    begun = time.monotonic()
    figures: Figures = dict.fromkeys(_ALWAYS_SHOWN)
    parts = (throughput, latency, half_load, varied, bodies, many_routes, streams, many_principals)
    with Host() as host:
        open_files(plan.streams * _FILES_PER_STREAM)
        figures["pinning"] = host.pinning
        figures["gateway_compiled"] = is_compiled()
        try:
            arena = build(plan, host, figures)
        except NotMeasured as error:
            sys.exit(f"The gateway can't be measured: {error}")
        print(f"all started after {time.monotonic() - begun:.0f} s", file=sys.stderr)
        for part in parts:
            with reason_kept(figures, part.__name__):
                if time.monotonic() > begun + plan.longest:
                    raise NotMeasured(f"no time left after {plan.longest:g} s")
                part(arena)
                print(f"{part.__name__}: done at {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return figures


def throughput(arena: Arena) -> None:
    """Requests/s of all in turns, and the ratios."""
    figures = arena.figures
    others = OtherLoad(arena.host)
    proxies = {"upstream_alone": arena.upstream, "gateway": arena.gateway, **arena.rivals}
    in_turns(
        proxies,
        lambda proxy: arena.wrk.get(proxy.url(SMALL), arena.plan.seconds),
        arena.plan.rounds,
        figures,
    )
    figures["other_load_cores"], figures["stolen_cores"] = others.cores()
    if "gateway_rps" not in figures:
        raise NotMeasured("without the gateway there are no ratios")
    for name in _RATIOS:
        compare(figures, "gateway", name)


def latency(arena: Arena) -> None:
    """What the gateway, and Envoy, add for a client that is alone."""
    proxies = {"upstream_alone": arena.upstream, "gateway": arena.gateway}
    if "envoy_filters" in arena.rivals:
        proxies["envoy_filters"] = arena.rivals["envoy_filters"]
    runs: dict[str, list[tuple[float, Load]]] = {name: [] for name in proxies}
    for _ in range(_ALONE_SECONDS * arena.plan.rounds):
        for name, proxy in proxies.items():
            before = stolen_seconds()
            load = arena.wrk.get(proxy.url(SMALL), 1, 1)
            runs[name].append((stolen_seconds() - before, load))
    # Those seconds, a third, in which the hypervisor took least.
    loads = {
        name: Load.median([load for _, load in sorted(found, key=itemgetter(0))[: len(found) // 3]])
        for name, found in runs.items()
    }
    floor = loads.pop("upstream_alone").p50_ms
    for name, load in loads.items():
        prefix = "" if name == "gateway" else f"{name}_"
        arena.figures.update(
            {
                f"{prefix}one_connection_p50_ms": round(load.p50_ms, 3),
                f"{prefix}one_connection_p99_ms": round(load.p99_ms, 3),
                f"{prefix}added_p50_ms": round(load.p50_ms - floor, 3),
            }
        )


def half_load(arena: Arena) -> None:
    """The latency that users see while half of the capacity is in use."""
    proxies = {"": arena.gateway, "upstream_alone_": arena.upstream}
    if "envoy" in arena.rivals:
        proxies["envoy_"] = arena.rivals["envoy"]
    requests = [request(SMALL, arena.token)]
    runs: dict[str, list[Paced]] = {name: [] for name in proxies}
    with watched(arena.host) as stalls:
        for turn in range(_MOST_TIMES * arena.plan.calm_seconds):
            # A machine that others use, too, is not as fast in one second as it was in the last.
            rate = arena.wrk.get(arena.gateway.url(SMALL), 1).rps / 2
            with arena.host.load_first() as first:
                for name, proxy in proxies.items():
                    paced = pace(
                        proxy.port, requests, rate=rate, seconds=1, stalls=stalls, seed=turn
                    )
                    runs[name].append(paced)
            if all(calm(found, arena.plan.calm_seconds) for found in runs.values()):
                break
    arena.figures["half_load_first"] = first
    for name, found in runs.items():
        kept, every = calmest(found, arena.plan.calm_seconds), Paced.joined(found)
        arena.figures[f"{name}half_load_rps"] = round(kept.rps)
        arena.figures[f"{name}p50_half_load_ms"] = round(kept.ms(50), 3)
        arena.figures[f"{name}p99_half_load_ms"] = round(kept.ms(99), 3)
        arena.figures[f"{name}half_load_stalled_ms_per_s"] = kept.stalled_ms_per_s
        arena.figures[f"{name}p99_half_load_all_ms"] = round(every.ms(99), 3)
        arena.figures[f"{name}half_load_all_stalled_ms_per_s"] = every.stalled_ms_per_s


def varied(arena: Arena) -> None:
    """Requests of which no two have the same fields: what is remembered of others' is of no use."""
    proxies = {"gateway": arena.gateway}
    if "envoy" in arena.rivals:
        proxies["envoy"] = arena.rivals["envoy"]
    turns = [partial(_varied, arena, proxy) for proxy in proxies.values()]
    loads = dict(zip(proxies, _medians(arena, *turns), strict=True))
    for name, load in loads.items():
        arena.figures.update(row(f"{name}_varied", load))
    if "envoy" in loads:
        ratio = loads["gateway"].rps / loads["envoy"].rps
        arena.figures["ratio_envoy_varied"] = round(ratio, 3)


def bodies(arena: Arena) -> None:
    """Answers of three sizes and a POST, through the gateway and through Envoy."""
    proxies = {"gateway": arena.gateway}
    if "envoy" in arena.rivals:
        proxies["envoy"] = arena.rivals["envoy"]
    for size in ("1kb", "64kb", "1mb", "post_1kb"):
        turns = [partial(_sized, arena, proxy, size) for proxy in proxies.values()]
        for name, load in zip(proxies, _medians(arena, *turns), strict=True):
            arena.figures.update(row(f"{name}_{size}", load))
            if size in ("64kb", "1mb"):
                arena.figures[f"{name}_{size}_mb_per_s"] = round(load.mb_per_s)


def many_routes(arena: Arena) -> None:
    """Another gateway with a long route table, asked for all of it."""
    half = arena.plan.routes // 2
    plain = [f"{looma.ROOT}/r{number}" for number in range(half)]
    templates = [f"{looma.ROOT}/t{number}/{{item_id}}/part" for number in range(half)]
    ids = random.Random(7)
    filled = [path.format(item_id=UUID(int=ids.getrandbits(128))) for path in templates]
    proxy = arena.another_gateway("routes", (*plain, *templates))
    try:
        _growth(arena, "routes", proxy, [(path, arena.token) for path in (*plain, *filled)])
    finally:
        arena.host.end(proxy.child)


def many_principals(arena: Arena) -> None:
    """The gateway with as many principals as a large installation has at a time."""
    lines = [(SMALL, arena.issuer.token()) for _ in range(arena.plan.principals)]
    # Whoever comes for the first time has a signature verified: that is no matter of their number.
    visit(arena.gateway.port, (request(path, token) for path, token in lines))
    _growth(arena, "principals", arena.gateway, lines)
    arena.figures["principals_rss_mb"] = round(arena.gateway.child.resident_bytes() / 2**20)


def streams(arena: Arena) -> None:
    """A fresh gateway, so that memory which earlier load left behind hides nothing.

    It has several workers where one may not have so many files open.
    """
    files = open_files(arena.plan.streams * _FILES_PER_STREAM)
    count = min(arena.plan.streams, files)  # the load and the upstream have one file for each
    if count < _FEWEST_STREAMS:
        raise NotMeasured(f"only {files} files may be open: raise `ulimit -n`")
    if count < arena.plan.streams:
        arena.figures["sse_limited"] = f"`ulimit -n` leaves {files} files"
    workers = 1
    if files < count * _FILES_PER_STREAM:
        # The kernel spreads connections over workers by chance: some get more than their part.
        workers = math.ceil(_SPREAD * count * _FILES_PER_STREAM / files)
    proxy = arena.another_gateway("streams", workers=workers)
    try:
        arena.wrk.get(proxy.url(SMALL), 1)
        asked = request(f"{looma.ROOT}/stream", arena.token)
        broadcast = arena.upstream.url("/broadcast")
        held = hold(proxy.port, asked, count, proxy.child.resident_bytes, broadcast)
    finally:
        arena.host.end(proxy.child)
    arena.figures.update(
        sse_streams=held.count,
        sse_workers=workers,
        sse_kb_per_stream=round((held.during - held.before) / held.count / 1024, 1),
        sse_rss_mb=round(held.during / 2**20),
        sse_opened_per_s=round(held.count / held.opened_s),
        sse_delivery_ms=round(held.delivered_s * 1e3),
    )


def _growth(arena: Arena, what: str, proxy: Proxy, lines: list[tuple[str, str]]) -> None:
    """The same gateway with a few of the lines and with all of them."""
    few = lines[:: max(1, len(lines) // _FEW)]
    cpu = [0.0, 0.0]  # seconds per request, added up

    def mixed(which: int, lines: list[tuple[str, str]]) -> Load:
        load, seconds = with_cpu(
            proxy, lambda proxy: arena.wrk.get_mixed(proxy.url(""), lines, arena.plan.seconds)
        )
        cpu[which] += seconds / load.requests
        return load

    base, many = _medians(arena, lambda: mixed(0, few), lambda: mixed(1, lines))
    arena.figures[what] = len(lines)
    arena.figures.update(row(what, many))
    arena.figures[f"{what}_growth"] = round(many.p50_ms / base.p50_ms, 3)
    arena.figures[f"{what}_growth_by_cpu"] = round(cpu[1] / cpu[0], 3)
    _paced_growth(arena, what, proxy, few, lines)


def _paced_growth(
    arena: Arena,
    what: str,
    proxy: Proxy,
    few: list[tuple[str, str]],
    many: list[tuple[str, str]],
) -> None:
    """The same at a rate that both leave room for: what a user feels of it."""
    if "gateway_rps" not in arena.figures:
        raise NotMeasured("a quarter of an unknown maximum is unknown")
    rate = arena.figures["gateway_rps"] / 4
    lines_of = {"few": few, "many": many}
    requests = {name: [request(*line) for line in lines] for name, lines in lines_of.items()}
    runs: dict[str, list[Paced]] = {name: [] for name in requests}
    with arena.host.load_first(), watched(arena.host) as stalls:
        for turn in range(_MOST_TIMES * arena.plan.calm_seconds):
            for name, drawn in requests.items():
                paced = pace(proxy.port, drawn, rate=rate, seconds=1, stalls=stalls, seed=turn)
                runs[name].append(paced)
            if all(calm(found, arena.plan.calm_seconds) for found in runs.values()):
                break
    base, grown = (calmest(found, arena.plan.calm_seconds).ms(50) for found in runs.values())
    arena.figures[f"{what}_p50_paced_ms"] = round(grown, 3)
    arena.figures[f"{what}_growth_paced"] = round(grown / base, 3)


def _medians(arena: Arena, *turns: Callable[[], Load]) -> list[Load]:
    """The medians of each, measured one after the other in every round."""
    rounds = [[turn() for turn in turns] for _ in range(min(arena.plan.rounds, 3))]
    return [Load.median(column) for column in zip(*rounds, strict=True)]


def _varied(arena: Arena, proxy: Proxy) -> Load:
    return arena.wrk.get_varied(proxy.url(SMALL), arena.plan.seconds)


def _sized(arena: Arena, proxy: Proxy, size: str) -> Load:
    if size == "post_1kb":
        return arena.wrk.post_1kb(proxy.url(SMALL), arena.plan.seconds)
    return arena.wrk.get(proxy.url(f"{looma.ROOT}/{size}"), arena.plan.seconds)
