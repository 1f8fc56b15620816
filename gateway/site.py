"""What the connections of clients serve, and the requests that they hand over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from sanic.models.server_types import ConnInfo
from sanic.request import Request

from gateway.http1_head import Head
from gateway.timeouts import Timeouts
from shared.errors import LoomaError


@dataclass(frozen=True, slots=True)
class Site:
    """`handle` answers a request; raising after the answer's head is sent cuts the connection.

    `refuse` answers what never became a request.
    """

    handle: Callable[[Request], Awaitable[None]]
    refuse: Callable[[Request, LoomaError], Awaitable[None]]
    timeouts: Timeouts
    body_limit: int  # bytes, unless whoever reads a body says otherwise
    patience: float  # seconds until an answer begins, while nothing of the request comes


class ClientRequest(Request):
    """A request; what Sanic prepares for its router, forms and cookies is left out."""

    # Sanic's own constructor parses the target once more and fills twenty fields.
    def __init__(
        self, head: Head, stream: object, transport: asyncio.Transport, peer: ConnInfo
    ) -> None:
        self.method = head.method
        self.raw_url = head.target.encode("ascii")
        self.version = f"1.{head.minor}"
        self.headers = head.headers
        self.conn_info = peer
        self.transport = cast("Any", transport)
        self.stream = cast("Any", stream)
        self._ctx = None
