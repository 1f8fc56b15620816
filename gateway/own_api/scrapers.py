"""Access to what the gateway tells of every service, route and limit: /metrics, /internal/targets.

It is open to the networks in METRICS_NETWORKS (this machine itself where there are none) and to
callers with the scope gateway:admin. A request that came through a proxy is its client's, never
this machine's, whatever the proxy says or leaves out; only a trusted one can speak for a listed
network, and a trusted one that says nothing speaks for nobody. A proxy on this machine that is
neither trusted nor says anything can't be told from this machine: then METRICS_NETWORKS has to
leave it out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from gateway.auth.identity import Identity
from gateway.http.client_address import ClientAddress, Network, is_readable
from gateway.http.request import GatewayRequest
from shared.errors import Forbidden, LoomaError, Unauthenticated

SCOPE: Final = "gateway:admin"
# What proxies, tunnels and content networks add, whichever of it.
_FORWARDED: Final = frozenset(
    {
        "forwarded", "via", "x-real-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip",
        "fastly-client-ip", "cdn-loop",
    }
)  # fmt: skip
_FORWARDED_BEGIN: Final = ("x-forwarded-", "x-original-", "x-envoy-", "cf-")


class Scrapers:
    """Decides who may read what is for scrapers."""

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
            "Metrics are for the networks in METRICS_NETWORKS (without any: this machine itself) and "
            f"callers with the scope {SCOPE!r}. Add the network of your scraper, or send a credential."
        )

    def _is_near(self, request: GatewayRequest) -> bool:
        client, headers = request.client, request.headers
        if client is None:
            return False
        forwarded = headers.getall("x-forwarded-for") if "x-forwarded-for" in headers else ()
        if self._addresses.is_proxy(client.address):
            if not is_readable(forwarded):
                return False
            return self._is_listed(_parsed(self._addresses.of(client.address, forwarded)))
        if any(_is_of_proxies(name) for name, _ in headers.items()):
            return False
        peer = _parsed(client.address)
        if peer is not None and peer.is_loopback and not self._networks:
            return True
        return self._is_listed(peer)

    def _is_listed(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _is_of_proxies(name: str) -> bool:
    return name in _FORWARDED or name.startswith(_FORWARDED_BEGIN)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both IPs shows IPv4 peers in this form.
    return getattr(address, "ipv4_mapped", None) or address
