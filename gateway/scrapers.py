"""Who may read the gateway's own /metrics: they tell of every service, route and limit.

This machine itself, the networks in METRICS_NETWORKS, and callers with the scope gateway:admin.
A request that came through a proxy is its client's, never this machine's, whatever the proxy says
or leaves out; a proxy that isn't trusted can't speak for a listed network either.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from gateway.client_address import ClientAddress, Network
from gateway.identity import Identity
from gateway.request import GatewayRequest
from shared.errors import Forbidden, LoomaError, Unauthenticated

SCOPE: Final = "gateway:admin"
_FORWARDED: Final = ("x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host", "via")


class Scrapers:
    def __init__(
        self, networks: Sequence[Network], addresses: ClientAddress, identity: Identity
    ) -> None:
        self._networks = tuple(networks)
        self._addresses = addresses
        self._identity = identity

    async def refusal(self, request: GatewayRequest) -> LoomaError | None:
        """Why this request may not read them; None if it may."""
        if self._is_near(request):
            return None
        try:
            caller = await self._identity.caller(request.headers)
            if not caller.anonymous:
                caller.require(SCOPE)
                return None
        except (Forbidden, Unauthenticated) as error:
            return error
        return Forbidden(
            "Metrics are for this machine, the networks in METRICS_NETWORKS, and callers with the "
            f"scope {SCOPE!r}. Add the network of your scraper, or send a credential."
        )

    def _is_near(self, request: GatewayRequest) -> bool:
        client, headers = request.client, request.headers
        if client is None:
            return False
        peer = _parsed(client.address)
        if any(name in headers for name in _FORWARDED):
            told = self._addresses.of(client.address, headers.getall("x-forwarded-for"))
            return told != client.address and self._is_listed(_parsed(told))
        return peer is not None and (peer.is_loopback or self._is_listed(peer))

    def _is_listed(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both IPs shows IPv4 peers in this form.
    return getattr(address, "ipv4_mapped", None) or address
