"""The handler that client connections call, with its limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.downstream.busy_poll import BusyPoll
from gateway.http.request import GatewayRequest
from gateway.timeouts import Timeouts
from shared.errors import LoomaError


@dataclass(slots=True)
class Handler:
    """`handle` answers a request; raising after the answer's head is sent cuts the connection.

    `refuse` answers what never became a request.
    """

    handle: Callable[[GatewayRequest], Awaitable[None]]
    refuse: Callable[[GatewayRequest, LoomaError], Awaitable[None]]
    timeouts: Timeouts
    body_limit: int  # bytes, unless whoever reads a body says otherwise
    patience: float  # seconds until an answer begins, while nothing of the request comes
    busy_poll: BusyPoll
    closing: bool = False  # answers are the last on their connections from now on
