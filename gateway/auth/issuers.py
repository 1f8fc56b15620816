"""All issuers whose tokens are taken: ours, and those of organisations that bring their own.

A token's `iss` is read before anything is verified, to choose among the issuers that are
configured; everything after that is up to the one chosen: its keys, its algorithms, its audience.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.auth.access_tokens import CLAIMS, AccessTokens, Verified, refused, unverified
from gateway.auth.external_claims import external_principal
from gateway.auth.issuer_file import ExternalIssuer
from gateway.auth.jwks import SigningKeys
from gateway.auth.jwks_download import downloading

_MAX_TOKEN: Final = 8192  # characters; those of others list groups


@dataclass(frozen=True, slots=True)
class TokenIssuers:
    """`own` verifies what no `external` issuer is named for."""

    own: AccessTokens
    external: Mapping[str, AccessTokens]
    renewals: Mapping[str, Callable[[], Awaitable[None]]]  # to run beside the requests, by name

    async def verify(self, token: str) -> Verified:
        """Unauthenticated for a bad token; UpstreamUnavailable if no key can be had to tell."""
        if not self.external:
            return await self.own.verify(token)
        return await self.external.get(_issuer(token), self.own).verify(token)


async def open_issuers(
    stack: AsyncExitStack, own: AccessTokens, issuers: Iterable[ExternalIssuer]
) -> TokenIssuers:
    """Ready to verify; what was opened is closed with `stack`."""
    external, renewals = {}, {}
    for issuer in issuers:
        download = await stack.enter_async_context(downloading(issuer.jwks_url, issuer.ca_file))
        keys = SigningKeys(download.fetch, algorithms=issuer.algorithms, source=issuer.issuer)
        stack.callback(keys.close)
        renewals[f"signing keys of {issuer.issuer}"] = keys.renew_forever
        external[issuer.issuer] = AccessTokens(
            keys,
            issuer=issuer.issuer,
            audience=issuer.audience,
            principal=partial(external_principal, issuer),
            begins=issuer.begins,
            longest=issuer.max_life,
            max_length=_MAX_TOKEN,
        )
    return TokenIssuers(own, external, renewals)


def _issuer(token: str) -> str:
    """The `iss` that a token claims to be of; '' if it says none."""
    if len(token) > _MAX_TOKEN:
        raise refused("is too long")
    claims = unverified(token, CLAIMS)
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""
