"""What a request passes before it is answered: who calls, how much of it, and may they.

Everything that is asked for by somebody counts: by the limits of the caller's role, whether the role
has the scope or not; without a good credential, or for what doesn't exist, by the public limits of
the address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.auth.caller import Caller
from gateway.auth.identity import Identity
from gateway.http.client_address import ClientAddress
from gateway.http.cors import Cors
from gateway.http.headers import Headers
from gateway.http.request import GatewayRequest
from gateway.limits.rate_limiter import RateLimiter
from gateway.routing.plan import RoleLimits
from shared.errors import Unauthenticated
from shared.security import PUBLIC

_NO_FAILURE: Final[Unauthenticated | None] = None


@dataclass(frozen=True, slots=True)
class Gates:
    identity: Identity
    limiter: RateLimiter
    addresses: ClientAddress
    cors: Cors


class Admission:
    def __init__(self, gates: Gates) -> None:
        self._identity = gates.identity
        self._limiter = gates.limiter
        self._addresses = gates.addresses
        self._cors = gates.cors

    def address(self, request: GatewayRequest) -> str:
        """The client's, as far as trusted proxies tell it."""
        client, addresses = request.client, self._addresses
        assert client is not None
        if not addresses.trusting:
            return client.address
        return addresses.of(client.address, request.headers.getall("x-forwarded-for"))

    def scheme(self, request: GatewayRequest) -> str:
        """That of our own socket, unless a trusted proxy says which its client used."""
        client, addresses, headers = request.client, self._addresses, request.headers
        assert client is not None
        if addresses.trusting and "x-forwarded-proto" in headers:
            told = addresses.scheme(client.address, headers.getall("x-forwarded-proto"))
            if told:
                return told
        return "https" if client.secure else "http"

    async def caller(
        self, headers: Headers, scope: str, limits: RoleLimits, address: str
    ) -> Caller:
        """Who calls, of those who can be known: `counted` and `Caller.require` come next.

        Unauthenticated for a credential that is not good, or none where one is needed.
        """
        identity, refusal = self._identity, _NO_FAILURE
        caller = identity.anonymous
        if scope == PUBLIC:
            return caller
        try:
            caller = identity.known(headers) or await identity.caller(headers)
            if caller.anonymous:
                caller.require(scope)
        except Unauthenticated as error:
            refusal = error
        if refusal is not None:  # guessing credentials costs as much as any public route
            await self.stranger(limits, address)
            raise refusal
        return caller

    async def counted(self, caller: Caller, limits: RoleLimits, address: str) -> bytes:
        """Count a request of `caller`; the header lines that say what is left.

        Raises RateLimited, or StoreUnavailable for a limit that can't be counted now.
        """
        limited = limits.public if caller.anonymous else limits.by_role.get(caller.role)
        if limited is None:
            return b""
        buckets = self._limiter.buckets(limited, caller, address)
        allowance = self._limiter.known(limited, buckets)
        if allowance is None and buckets:
            allowance = await self._limiter.ask(limited, buckets)
        return b"" if allowance is None else allowance.block()

    async def stranger(self, limits: RoleLimits, address: str) -> None:
        """Count a request of nobody in particular; raises as `counted` does."""
        if limits.public is not None:
            await self._limiter.admit(limits.public, None, address)

    def origin_lines(self, headers: Headers) -> bytes:
        """What a page of another origin is told, as header lines."""
        cors = self._cors
        if not cors.enabled or "origin" not in headers:
            return b""
        return b"".join(b"%b: %b\r\n" % line for line in cors.lines(headers["origin"]))

    def is_preflight(self, request: GatewayRequest) -> bool:
        headers = request.headers
        return (
            request.method == "OPTIONS"
            and self._cors.enabled
            and "origin" in headers
            and "access-control-request-method" in headers
        )
