"""Where messages may be sent: public addresses over https, and what WEBHOOK_PRIVATE_NETWORKS names.

A URL is read by a grammar narrower than any client's, so that nobody reads another host in it than
is checked here. A host that is a number in any notation but the usual one (2130706433, 0x7f.1,
0177.0.0.1) is refused: some servers and libraries take it for an address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal

from shared.config_values import Network
from shared.errors import InvalidInput

Address = IPv4Address | IPv6Address
Scheme = Literal["https", "http"]

MAX_URL_CHARS: Final = 2_000
_PORTS: Final = frozenset({443, 8443})
_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<v6>[0-9a-f:.]{2,45})\]|(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?][!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FIELD: Final = "url"

# Beside what `ipaddress` calls global: it differs between versions of Python, and doesn't know that
# some of what is global leads into the machine's or the provider's own network.
_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
_PUBLIC_V6: Final = IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was read. `literal` is the address that its host is, if it is one."""

    url: str
    scheme: Scheme
    host: str
    port: int
    literal: Address | None


def target_of(url: str) -> Target:
    """InvalidInput that names what is wrong with the URL."""
    if len(url) > MAX_URL_CHARS:
        raise InvalidInput.of(_FIELD, "is too long", f"send at most {MAX_URL_CHARS} characters")
    authority = re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0]
    if "@" in authority:
        fix = "leave user and password out: messages are signed"
        raise InvalidInput.of(_FIELD, "holds credentials", fix)
    if not authority.isascii():
        fix = "write the host in its ASCII form, xn--…"
        raise InvalidInput.of(_FIELD, "has a host that isn't ASCII", fix)
    match = _URL.fullmatch(url)
    if match is None or "\\" in url or "#" in url:
        raise InvalidInput.of(_FIELD, "is no address", "send one like https://crm.example.com/hook")
    scheme: Scheme = "https" if match["scheme"].lower() == "https" else "http"
    port = int(match["port"] or (443 if scheme == "https" else 80))
    if not 0 < port < 65536:
        raise InvalidInput.of(_FIELD, f"has the port {port}", "send a port from 1 to 65535")
    host = (match["v6"] or match["host"]).lower()
    return Target(url, scheme, host, port, _literal(host, bracketed=match["v6"] is not None))


def check_address(target: Target, address: Address, private: Sequence[Network]) -> None:
    """InvalidInput unless messages of this target may go to this address."""
    if _within(address, private):
        return
    if target.scheme != "https":
        raise InvalidInput.of(_FIELD, "is http", "send an https address")
    if target.port not in _PORTS:
        raise InvalidInput.of(_FIELD, f"has the port {target.port}", "use 443 or 8443")
    if not is_public(address):
        problem = "leads to an address that is not on the public internet"
        raise InvalidInput.of(_FIELD, problem, "send one that is")


def is_public(address: Address) -> bool:
    """Whether an address is somebody's on the internet, whoever's network we are in."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _PUBLIC_V6 or address.scope_id is not None:
            return False
    return address.is_global and not _within(address, _NEVER)


def _within(address: Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in one for one in networks if one.version == address.version)


def _literal(host: str, *, bracketed: bool) -> Address | None:
    """The address that a host is; None for a name. InvalidInput for what is neither."""
    labels = host.split(".")
    if bracketed or _NUMBER.fullmatch(labels[-1]):
        try:
            address = ip_address(host)
        except ValueError as error:
            fix = "write it like 203.0.113.7 or [2001:db8::7], or send a name"
            raise InvalidInput.of(_FIELD, f"has the host {host!r}, no address", fix) from error
        return address
    if not all(_LABEL.fullmatch(label) for label in labels):
        fix = "send one like https://crm.example.com/hook"
        raise InvalidInput.of(_FIELD, f"has the host {host[:100]!r}, no name", fix)
    return None
