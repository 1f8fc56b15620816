"""Admission: authentication, rate limits and scope, in this order, before a request is answered.

Everything that is asked for by somebody counts: by the limits of the caller's role, whether the role
has the scope or not; without a good credential, or for what doesn't exist, by the public limits of
the address.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Gates:
    """What admission is made of."""

    identity: Identity
    limiter: RateLimiter
    addresses: ClientAddress
    cors: Cors


class Admission:
    """`admit` for requests with a route, `stranger` for all others."""

    def __init__(self, gates: Gates) -> None:
        self._identity = gates.identity
        self._limiter = gates.limiter
        self._addresses = gates.addresses
        self._cors = gates.cors

    def address(self, request: GatewayRequest) -> str:
        """The client's address, as far as trusted proxies tell it."""
        client, addresses = request.client, self._addresses
        assert client is not None
        if not addresses.trusting:
            return client.address
        return addresses.of(client.address, request.headers.getall("x-forwarded-for"))

    def scheme(self, request: GatewayRequest) -> str:
        """The client's scheme: our own socket's, unless a trusted proxy says which it used."""
        client, addresses, headers = request.client, self._addresses, request.headers
        assert client is not None
        if addresses.trusting and "x-forwarded-proto" in headers:
            told = addresses.scheme(client.address, headers.getall("x-forwarded-proto"))
            if told:
                return told
        return "https" if client.secure else "http"

    async def admit(
        self, request: GatewayRequest, scope: str, limits: RoleLimits, address: str
    ) -> tuple[Caller, bytes]:
        """The caller, counted and with the scope; and the header lines of what is left to them.

        Whose the request is stands in it from then on, also if it is refused.
        Unauthenticated for a credential that is not good, or none where one is needed; RateLimited,
        or StoreUnavailable for a limit that can't be counted now; Forbidden without the scope.
        """
        refusal: Unauthenticated | None = None
        caller = self._identity.anonymous
        if scope != PUBLIC:
            try:
                caller = await self._identity.caller(request.headers)
                if caller.anonymous:
                    caller.require(scope)
            except Unauthenticated as error:
                refusal = error  # counted below: decision 0012 allows no await here
        if refusal is not None:  # guessing credentials costs as much as any public route
            await self.stranger(limits, address)
            raise refusal
        if not caller.anonymous:
            request.organisation = caller.principal.org_id
        more = b""
        limited = limits.public if caller.anonymous else limits.by_role.get(caller.role)
        if limited is not None:
            allowance = await self._limiter.count(limited, caller, address)
            more = allowance.block()
        if scope != PUBLIC:
            caller.require(scope)
        return caller, more

    async def stranger(self, limits: RoleLimits, address: str) -> None:
        """Count a request without caller or route by the public limits; raises RateLimited."""
        if limits.public is not None:
            await self._limiter.count_stranger(limits.public, address)

    def origin_lines(self, headers: Headers) -> bytes:
        """The CORS header lines of an answer; b'' if there are none."""
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
