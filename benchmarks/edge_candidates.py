"""What the gateway could be made of: clients for services and servers, each alone, on one core.

Clients stand in one and the same small Sanic server, which forwards a GET with 300 bytes of added
headers; `client_none` is that server without one. Servers have nothing behind them and answer every
request alike. Answers have 230 bytes of JSON, requests a token of an analyst; wrk has 32 keep-alive
connections; all have their turn in every round, and figures are medians over the rounds. The
candidate has one core with all its threads and processes; upstream and load share another.

*_cpu_us               processor time per request: little disturbed by other load
*_core                 share of its core that a candidate used; far below 1 it was not the limit
ratio_*                our requests/s over the candidate's; null where it doesn't take part
ratio_*_by_cpu         the same from processor time: what an undisturbed core would show
*_missing              why something has no figure
*_accepted_malformed   how many requests of `malformed_requests` a server doesn't refuse and end
                       the connection; *_accepts names them
*_version              a package; those that we don't depend on live in environments of their own
gateway_compiled       whether our own modules ran compiled
other_load_cores       cores that processes of others used meanwhile: above 0.1, measure again

`client_none` and `server_sanic` are nearly the same program: their difference shows the noise.
"""

from __future__ import annotations

import platform
import sys
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

from benchmarks.edge.arena import Figures, reason_kept, start_upstream
from benchmarks.edge.host import Host, NotMeasured, OtherLoad, free_port, rivals_folder
from benchmarks.edge.load import Wrk
from benchmarks.edge.malformed_requests import MALFORMED, accepted
from benchmarks.edge.tokens import Issuer
from benchmarks.edge.turns import compare, in_turns
from benchmarks.rivals.answer import SMALL
from benchmarks.rivals.environment import installed
from benchmarks.rivals.proxy import Proxy

# What we don't depend on.
RIVALS: Final = {
    "pyreqwest": "0.15.1",
    "aiohttp": "3.14.5",
    "granian": "2.8.7",
    "uvicorn": "0.54.0",
}
_SHARED: Final = ("sanic", "uvloop", "httptools", "multidict")  # the same in every environment
_SMALL: Final = "/small"
_OF_EACH: Final = ("cpu_us", "rps", "p50_ms", "p99_ms")
_FORWARDER: Final = "benchmarks.rivals.forwarder"
_FIXED: Final = "benchmarks.rivals.fixed_answer"
_GRANIAN: Final = "granian --interface asgi --http 1 --loop uvloop --no-ws --log-level warning"
_UVICORN: Final = "uvicorn --http httptools --loop uvloop --ws none --no-access-log"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A module and its arguments, with places for ports; `rival` is what has to be installed."""

    command: str
    rival: str | None = None


CLIENTS: Final = {
    "client_none": Candidate(f"{_FORWARDER} none {{port}} {{upstream}}"),
    "client_ours": Candidate(f"{_FORWARDER} ours {{port}} {{upstream}}"),
    "client_streams": Candidate(f"{_FORWARDER} streams {{port}} {{upstream}}"),
    "client_pyreqwest": Candidate(f"{_FORWARDER} pyreqwest {{port}} {{upstream}}", "pyreqwest"),
    "client_pyreqwest_parts": Candidate(
        f"{_FORWARDER} pyreqwest_parts {{port}} {{upstream}}", "pyreqwest"
    ),
    "client_aiohttp": Candidate(f"{_FORWARDER} aiohttp {{port}} {{upstream}}", "aiohttp"),
    "client_httpx": Candidate(f"{_FORWARDER} httpx {{port}} {{upstream}}"),
}
SERVERS: Final = {
    "server_ours": Candidate("benchmarks.rivals.strict_reader {port}"),
    "server_sanic": Candidate(f"{_FIXED} {{port}}"),
    "server_sanic_granian": Candidate(
        f"{_GRANIAN} --port {{port}} --factory {_FIXED}:create", "granian"
    ),
    "server_asgi_granian": Candidate(f"{_GRANIAN} --port {{port}} {_FIXED}:bare", "granian"),
    "server_asgi_uvicorn": Candidate(f"{_UVICORN} --port {{port}} {_FIXED}:bare", "uvicorn"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: int  # of load on one candidate in one round


QUICK: Final = Plan(rounds=1, seconds=1)
FULL: Final = Plan(rounds=5, seconds=3)


def run(*, quick: bool) -> Figures:
    plan = QUICK if quick else FULL
    figures = _circumstances()
    issuer = Issuer()
    begun = time.monotonic()
    with Host() as host:
        figures["pinning"] = host.pinning
        wrk = Wrk(host.folder, issuer.token())
        try:
            upstream = start_upstream(host, issuer)
        except NotMeasured as error:
            sys.exit(f"Candidates can't be measured: {error}")
        proxies = _started(host, upstream.port, figures)
        print(f"all started after {time.monotonic() - begun:.0f} s", file=sys.stderr)
        others = OtherLoad(host)
        in_turns(
            {"upstream_alone": upstream, **proxies},
            lambda proxy: wrk.get(proxy.url(_SMALL), plan.seconds),
            plan.rounds,
            figures,
        )
        figures["other_load_cores"], figures["stolen_cores"] = others.cores()
        for name in (*CLIENTS, *SERVERS):
            for what in _OF_EACH:
                figures.setdefault(f"{name}_{what}", None)
        _compare_all(figures, "client_ours", CLIENTS)
        _compare_all(figures, "server_ours", SERVERS)
        for name in SERVERS:
            figures[f"{name}_accepted_malformed"] = None
            if name in proxies:
                with reason_kept(figures, f"{name}_malformed"):
                    _judge(figures, name, proxies[name])
    return figures


def _circumstances() -> Figures:
    spec = find_spec("gateway.downstream.connection")
    compiled = spec is not None and spec.origin is not None and not spec.origin.endswith(".py")
    ours = {f"{name}_version": version(name) for name in (*_SHARED, "httpx")}
    rivals = {f"{name}_version": number for name, number in RIVALS.items()}
    return {
        "python_version": platform.python_version(), **ours, **rivals, "gateway_compiled": "yes" if compiled else "no",
    }  # fmt: skip


def _started(host: Host, upstream: int, figures: Figures) -> dict[str, Proxy]:
    """Those that serve; of the others, the reason is among the figures."""
    found: dict[str, Proxy] = {}
    for name, candidate in {**CLIENTS, **SERVERS}.items():
        with reason_kept(figures, name):
            found[name] = _start(host, name, candidate, upstream)
    for name, proxy in list(found.items()):
        with reason_kept(figures, name):
            proxy.wait(host)
            _check(proxy)
    return {name: proxy for name, proxy in found.items() if f"{name}_missing" not in figures}


def _start(host: Host, name: str, candidate: Candidate, upstream: int) -> Proxy:
    python = sys.executable
    if candidate.rival is not None:
        pins = [f"{candidate.rival}=={RIVALS[candidate.rival]}"]
        pins += [f"{package}=={version(package)}" for package in _SHARED]
        python = str(installed(rivals_folder() / candidate.rival, pins))
    port = free_port()
    arguments = candidate.command.format(port=port, upstream=upstream).split()
    return Proxy(host.start(name, [python, "-m", *arguments], proxy=True), port)


def _check(proxy: Proxy) -> None:
    """Who answers otherwise does other work, and can't be compared."""
    with urllib.request.urlopen(proxy.url(_SMALL), timeout=5) as answer:
        body = answer.read()
    if body != SMALL:
        raise NotMeasured(f"{proxy.child.name} answered {body[:80]!r}")


def _compare_all(figures: Figures, ours: str, candidates: Iterable[str]) -> None:
    rivals = [name for name in candidates if name != ours]
    if figures[f"{ours}_rps"] is not None:
        for name in rivals:
            compare(figures, ours, name)
    else:
        figures.update({f"ratio_{name}": None for name in rivals})


def _judge(figures: Figures, name: str, proxy: Proxy) -> None:
    found = accepted(proxy.port)
    figures[f"{name}_accepted_malformed"] = len(found)
    figures[f"{name}_accepts"] = ", ".join(found) or "none"
    figures["malformed_requests"] = len(MALFORMED)
