"""Hosts of webhooks to addresses, each of them checked: when one is registered, and at every connection.

A connection is made to an address that was found here, never to a name that is looked up again.
Look-ups have threads of their own, those for sending others than those for registering: a name
server that doesn't answer holds up nobody else's work. Why a name is refused is not said: it would
tell which names our own network knows.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from typing import Final

from ai_services.monitor.webhooks.delivery.address import Address, Target, check_address, target_of
from shared.config_values import Network
from shared.errors import InvalidInput

LOOK_UP_S: Final = 5.0
# A look-up can't be cancelled, so there are more threads than look-ups that count.
SENDING_THREADS: Final = 128  # twice what is sent at a time
REGISTERING_THREADS: Final = 8


class Resolver:
    """`private` are the networks that messages may go to though they aren't public."""

    def __init__(self, private: Sequence[Network], threads: ThreadPoolExecutor) -> None:
        self._private = private
        self._threads = threads

    async def check(self, url: str) -> None:
        """InvalidInput unless messages may be sent to this URL, as its host is known now."""
        await self.addresses(target_of(url))

    async def addresses(self, target: Target) -> list[Address]:
        """Where the host is. InvalidInput if any of it is out of bounds, or nothing is known; for a name
        it is the same whatever was found.
        """
        if target.literal is not None:
            check_address(target, target.literal, self._private)
            return [target.literal]
        try:
            found = await self._look_up(target)
            for address in found:
                check_address(target, address, self._private)
        except (OSError, UnicodeError, TimeoutError, InvalidInput) as error:
            problem = f"has the host {target.host[:100]!r}, which messages can't be sent to"
            fix = (
                "send an https address at the port 443 or 8443 whose host is on the public internet"
            )
            raise InvalidInput.of("url", problem, fix) from error
        return found

    async def _look_up(self, target: Target) -> list[Address]:
        look_up = partial(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
        async with asyncio.timeout(LOOK_UP_S):
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._threads, look_up)
        return [ip_address(str(sockaddr[0])) for *_, sockaddr in found]


@asynccontextmanager
async def opened_resolver(
    private: Sequence[Network], threads: int = SENDING_THREADS
) -> AsyncIterator[Resolver]:
    """With that many threads of its own."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="webhook-dns")
    try:
        yield Resolver(private, pool)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
