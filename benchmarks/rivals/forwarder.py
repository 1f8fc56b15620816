"""The smallest proxy on Sanic: it forwards a GET by the client that is named.

`python -m benchmarks.rivals.forwarder CLIENT PORT UPSTREAM_PORT`; clients are in upstream_clients.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, raw

from benchmarks.rivals.upstream_clients import CLIENTS


def create(client: str, upstream: int) -> Sanic[Any, Any]:
    app: Sanic[Any, Any] = Sanic("forwarder", configure_logging=False)

    @app.before_server_start
    async def connect(app: Sanic[Any, Any]) -> None:
        app.ctx.stack = AsyncExitStack()
        app.ctx.get = await app.ctx.stack.enter_async_context(CLIENTS[client](upstream))

    @app.after_server_stop
    async def close(app: Sanic[Any, Any]) -> None:
        await app.ctx.stack.aclose()

    @app.get("/<path:path>")
    async def forward(request: Request, path: str) -> HTTPResponse:
        del path
        return raw(await app.ctx.get(request.path), content_type="application/json")

    return app


if __name__ == "__main__":
    create(sys.argv[1], int(sys.argv[3])).run(
        "127.0.0.1", int(sys.argv[2]), single_process=True, access_log=False, motd=False
    )
