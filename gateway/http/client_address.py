"""The client's address and scheme behind trusted proxies (X-Forwarded-For, X-Forwarded-Proto).

Without TRUSTED_PROXIES the peer of the connection is the client. With it, X-Forwarded-For is read
from the right, as each proxy appends whom it heard from: the first address that is no trusted
proxy is the client's. What stands left of it, the client wrote itself. X-Forwarded-Proto has no
such order: it is believed if the peer is a trusted proxy and says one thing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from gateway.expiring_cache import ExpiringCache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SIZE: Final = 10_000
_SCHEMES: Final = ("http", "https")


class ClientAddress:
    """`of` a request; `trusted` are the networks of the proxies in front."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self.trusting = bool(trusted)
        self._known: ExpiringCache[str, bool] = ExpiringCache(_SIZE)

    def of(self, peer: str, forwarded: Sequence[str]) -> str:
        """`forwarded` are the values of X-Forwarded-For; the result is an address or `peer`."""
        if not self._trusted or not forwarded or not self._is_proxy(peer):
            return peer
        nearest = peer
        for item in reversed(",".join(forwarded).split(",")):
            address = _plain(item)
            if address is None:
                return nearest  # a proxy that says nothing readable: who spoke to us last
            if not self._is_proxy(address):
                return address
            nearest = address
        return nearest

    def is_proxy(self, address: str) -> bool:
        """Whether it is one that is trusted."""
        return bool(self._trusted) and self._is_proxy(address)

    def scheme(self, peer: str, forwarded: Sequence[str]) -> str:
        """What a trusted proxy says of the client's connection: 'http', 'https', or '' for nothing.

        `forwarded` are the values of X-Forwarded-Proto.
        """
        if len(forwarded) == 1 and forwarded[0] in _SCHEMES and self._is_proxy(peer):
            return forwarded[0]
        return ""

    def _is_proxy(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            try:
                parsed = ipaddress.ip_address(address)
            except ValueError:
                return False
            # A socket for both IPs shows IPv4 peers in this form.
            plain = getattr(parsed, "ipv4_mapped", None) or parsed
            known = any(plain in network for network in self._trusted)
            self._known.put(address, known, float("inf"))
        return known


def is_readable(forwarded: Sequence[str]) -> bool:
    """Whether X-Forwarded-For with these values is addresses and nothing else."""
    return bool(forwarded) and all(_plain(item) for item in ",".join(forwarded).split(","))


def _plain(item: str) -> str | None:
    """An address without port and brackets, in its usual spelling; None if it is none."""
    text = item.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
