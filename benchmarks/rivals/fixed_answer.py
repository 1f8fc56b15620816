"""Servers that answer every request alike, once all of it has come: Sanic, and bare ASGI.

`python -m benchmarks.rivals.fixed_answer PORT` is Sanic on its own server; ASGI servers are given
`create --factory` or `bare`.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, raw

from benchmarks.rivals.answer import SMALL

Message = MutableMapping[str, Any]
_HEAD: Final[Message] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(SMALL)).encode()),
    ],
}
_BODY: Final[Message] = {"type": "http.response.body", "body": SMALL}


def create() -> Sanic[Any, Any]:
    app: Sanic[Any, Any] = Sanic("fixed", configure_logging=False)

    @app.route("/<path:path>", methods=["GET", "POST"])
    async def answer(_request: Request, path: str) -> HTTPResponse:
        del path
        return raw(SMALL, content_type="application/json")

    return app


async def bare(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """An ASGI application without a framework."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    if scope["method"] != "GET":
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":  # the body was none
                return
            if not message.get("more_body"):
                break
    await send(_HEAD)
    await send(_BODY)


if __name__ == "__main__":
    create().run("127.0.0.1", int(sys.argv[1]), single_process=True, access_log=False, motd=False)
