"""What one writes first: a Sanic handler that asks the upstream with httpx.

`python -m benchmarks.rivals.naive PORT UPSTREAM_PORT`.
"""

from __future__ import annotations

import sys
from typing import Any

import httpx
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, raw

from benchmarks.edge.host import Host, free_port
from benchmarks.rivals.proxy import Proxy


def start(host: Host, upstream: int) -> Proxy:
    port = free_port()
    command = [sys.executable, "-m", __name__, str(port), str(upstream)]
    return Proxy(host.start("sanic_httpx", command, proxy=True), port)


def create(upstream: int) -> Sanic[Any, Any]:
    app: Sanic[Any, Any] = Sanic("naive", configure_logging=False)

    @app.before_server_start
    async def connect(app: Sanic[Any, Any]) -> None:
        app.ctx.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{upstream}")

    @app.route("/<path:path>", methods=["GET", "POST"])
    async def forward(request: Request, path: str) -> HTTPResponse:
        del path
        answer = await app.ctx.client.request(
            request.method, request.path, content=request.body, headers=_passed_on(request)
        )
        return raw(answer.content, answer.status_code, content_type=answer.headers["content-type"])

    return app


def _passed_on(request: Request) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.headers.items() if name != "host"]


if __name__ == "__main__":
    create(int(sys.argv[2])).run(
        "127.0.0.1", int(sys.argv[1]), single_process=True, access_log=False, motd=False
    )
