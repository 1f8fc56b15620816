"""What takes part in a run: the upstream, the gateway, its rivals, the load."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.edge.host import Host, NotMeasured, free_port, rivals_folder
from benchmarks.edge.load import Wrk
from benchmarks.edge.tokens import Issuer
from benchmarks.rivals import envoy, litellm, looma, naive
from benchmarks.rivals.proxy import Proxy

Figures = dict[str, Any]
SMALL: Final = f"{looma.ROOT}/small"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. Times are seconds; what hasn't begun after `longest` is left out.

    `calm_seconds` are those in which the hypervisor takes nothing, where there are so many.
    """

    rounds: int
    seconds: int
    calm_seconds: int
    streams: int
    routes: int
    principals: int
    start: float
    longest: float


@dataclass(slots=True)
class Arena:
    plan: Plan
    host: Host
    wrk: Wrk
    issuer: Issuer
    token: str
    redis_url: str
    upstream: Proxy
    gateway: Proxy
    rivals: Mapping[str, Proxy]
    figures: Figures = field(default_factory=dict)

    def another_gateway(self, name: str, more: tuple[str, ...] = (), workers: int = 1) -> Proxy:
        port, redis_url = self.upstream.port, self.redis_url
        proxy = looma.start(self.host, port, redis_url, name=name, more=more, workers=workers)
        log = proxy.child.log
        self.host.wait(proxy.child, lambda: log.read_bytes().count(b"serving") >= workers)
        proxy.wait(self.host)
        return proxy


def request(path: str, token: str) -> bytes:
    """A GET of `path` as it goes over the wire."""
    head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}"
    return f"{head}\r\n\r\n".encode()


def build(plan: Plan, host: Host, figures: Figures) -> Arena:
    """Start everything. A rival that can't take part is left out, the reason among the figures."""
    issuer = Issuer()
    token = issuer.token()
    wrk = Wrk(host.folder, token)
    upstream = start_upstream(host, issuer)
    redis_url = looma.start_redis(host)
    gateway = looma.start(host, upstream.port, redis_url)
    folder, port = rivals_folder(), upstream.port
    starters: dict[str, Callable[[], Proxy]] = {
        "envoy": lambda: envoy.start(host, envoy.binary(folder), port),
        "envoy_filters": lambda: envoy.start(host, envoy.binary(folder), port, issuer.jwks()),
        "sanic_httpx": lambda: naive.start(host, port),
        "litellm": lambda: litellm.start(host, folder, port, SMALL),
    }
    rivals: dict[str, Proxy] = {}
    for name, start in starters.items():
        with reason_kept(figures, name):
            rivals[name] = start()
    gateway.wait(host)
    for name, proxy in list(rivals.items()):
        with reason_kept(figures, name):
            proxy.wait(host, plan.start)
    rivals = {name: proxy for name, proxy in rivals.items() if f"{name}_missing" not in figures}
    return Arena(plan, host, wrk, issuer, token, redis_url, upstream, gateway, rivals, figures)


def start_upstream(host: Host, issuer: Issuer) -> Proxy:
    """The service behind all of them, beside the load."""
    jwks = host.folder / "jwks.json"
    jwks.write_bytes(issuer.jwks())
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.rivals.upstream", str(port), str(jwks)]
    proxy = Proxy(host.start("upstream", command), port)
    proxy.wait(host)
    return proxy


@contextmanager
def reason_kept(figures: Figures, what: str) -> Iterator[None]:
    """Inside, NotMeasured becomes the figure `<what>_missing`, and is said at once."""
    try:
        yield
    except NotMeasured as error:
        figures[f"{what}_missing"] = str(error)
        print(f"{what}: {error}", file=sys.stderr)
