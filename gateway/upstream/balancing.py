"""Which instance of a service gets a request: the least busy, those that failed just now last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Final

from gateway.upstream.connection import Connection
from gateway.upstream.instance import Exchange, Upstream
from shared.errors import UpstreamUnavailable

_TRIES: Final = 3


class Balancer:
    """Chooses among instances; equally busy ones take turns."""

    def __init__(self) -> None:
        self._turn = count()

    async def open(
        self, service: str, instances: Sequence[Upstream], exchange: Exchange
    ) -> tuple[Upstream, Connection]:
        """Send to one instance, to the next (three at most) if it can't be connected to.

        UpstreamUnavailable if there is none that can.
        """
        for upstream in self._order(instances)[:_TRIES]:
            try:
                return upstream, await upstream.open(exchange)
            except UpstreamUnavailable:
                continue
        raise UpstreamUnavailable(
            f"No replica of the service {service!r} can be reached. Try again in a moment."
        )

    def _order(self, instances: Sequence[Upstream]) -> Sequence[Upstream]:
        if len(instances) < 2:
            return instances
        now = asyncio.get_running_loop().time()
        first = next(self._turn) % len(instances)
        turned = [*instances[first:], *instances[:first]]
        return sorted(turned, key=lambda one: (one.cooling(now), one.in_flight))
