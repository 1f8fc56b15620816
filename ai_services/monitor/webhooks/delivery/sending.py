"""One attempt: a message to a webhook over HTTP, and what its answer comes to.

Every attempt has a connection of its own, to an address that `Resolver` has checked. Redirects are
not followed. Of the answer counts the status; a little of the body is taken, so that whoever writes
it can end, and nothing of it is kept: it may hold anything.
"""

from __future__ import annotations

import asyncio
import email.utils
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ai_services.monitor.webhooks.delivery.address import Address, Target, target_of
from ai_services.monitor.webhooks.delivery.resolving import Resolver
from ai_services.monitor.webhooks.delivery.verdict import Answer
from shared.errors import InvalidInput

TIMEOUT_S: Final = 15.0
_BODY_LIMIT: Final = 4 << 10  # bytes of an answer that are taken
_BODY_S: Final = 1.0
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "Looma-Webhooks/1"}
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


class Sender:
    def __init__(self, resolver: Resolver, timeout_s: float = TIMEOUT_S) -> None:
        self._resolver = resolver
        self._timeout_s = timeout_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
        """The answer, or why there is none; it raises nothing but a defect. `now` in Unix seconds."""
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                target = target_of(url)
                addresses = await self._resolver.addresses(target)
                async with (
                    _session(target, addresses) as session,
                    session.post(
                        URL(url, encoded=True),
                        data=body,
                        headers={**_HEADERS, **headers},
                        allow_redirects=False,
                    ) as response,
                ):
                    limit.reschedule(None)
                    await _take_some(response)
                    return _answer(response, now)
        except InvalidInput as error:
            return Answer(None, error.message)
        except aiohttp.ClientConnectorCertificateError:
            return Answer(None, "Its certificate is not valid for this host.")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Answer(None, "It can't be connected to.")
        except TimeoutError:
            return Answer(None, f"There was no answer within {self._timeout_s:g} s.")
        except aiohttp.ClientError:
            return Answer(None, "The connection ended without an answer in HTTP.")


@asynccontextmanager
async def _session(
    target: Target, addresses: list[Address]
) -> AsyncIterator[aiohttp.ClientSession]:
    """For one request: it connects to these addresses and to nothing else."""
    allowed = frozenset(addresses)

    def open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        if ip_address(str(sockaddr[0])) not in allowed:
            raise OSError("an address that was not checked")
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        resolver=_Pinned(target.host, addresses),
        use_dns_cache=False,
        force_close=True,
        socket_factory=open_socket,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(None),
    ) as session:
        yield session


class _Pinned(AbstractResolver):
    """Knows one host, by the addresses that were checked."""

    def __init__(self, host: str, addresses: list[Address]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - of every resolver
    ) -> list[ResolveResult]:
        if host.lower() != self._host:
            raise OSError("a host that was not checked")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """It holds nothing."""


async def _take_some(response: aiohttp.ClientResponse) -> None:
    """The status says all that counts: what is late, broken or too long is left."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_BODY_S):
            left = _BODY_LIMIT
            while left > 0 and (part := await response.content.read(left)):
                left -= len(part)


def _answer(response: aiohttp.ClientResponse, now: float) -> Answer:
    if 200 <= response.status < 300:
        return Answer(response.status)
    error = f"It answered {response.status}."
    if 300 <= response.status < 400:
        error = f"It answered {response.status}: redirects are not followed."
    return Answer(response.status, error, _retry_after(response.headers.get("Retry-After"), now))


def _retry_after(text: str | None, now: float) -> float | None:
    """Seconds, from either form of the header (RFC 9110 §10.2.3); None for what is neither."""
    if text is None:
        return None
    if _SECONDS.fullmatch(text.strip()):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
