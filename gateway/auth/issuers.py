"""The issuers whose tokens are accepted: ours, and those of organisations that bring their own.

A token's `iss` is read before anything is verified, to choose among the issuers that are
configured; everything after that is up to the one chosen: its keys, its algorithms, its audience.

Whom a token of another issuer speaks for is the issuer's entry to say: the organisation is the
entry's, whatever the token says; the role comes from one claim by the entry's table, and whoever
has none of its values is signed in and may do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gateway.auth.access_tokens import CLAIMS, AccessTokens, Verified, refused, unverified
from gateway.auth.issuer_file import ExternalIssuer
from gateway.auth.jwks import SigningKeys
from gateway.auth.jwks_download import downloading
from shared.security import Principal, Role

_MAX_TOKEN: Final = 8192  # characters; those of others list groups
_SUBJECT: Final = re.compile(r"[!-~]{1,255}")  # OpenID Connect Core 1.0 §2: at most 255 of ASCII
_MAX_VALUES: Final = 1000
_STRONGEST_FIRST: Final[tuple[Role, ...]] = ("admin", "analyst", "service", "agent")


@dataclass(frozen=True, slots=True)
class TokenIssuers:
    """Verifies a token by its issuer: one of `external` (by `iss`), `own` for all others."""

    own: AccessTokens
    external: Mapping[str, AccessTokens]
    renewals: Mapping[str, Callable[[], Awaitable[None]]]  # to run beside the requests, by name

    async def verify(self, token: str) -> Verified:
        """Unauthenticated if the token is bad; UpstreamUnavailable if no key can be had to tell."""
        if not self.external:
            return await self.own.verify(token)
        return await self.external.get(_issuer(token), self.own).verify(token)


async def open_issuers(
    stack: AsyncExitStack, own: AccessTokens, issuers: Iterable[ExternalIssuer]
) -> TokenIssuers:
    """Open the downloads of all issuers' keys; they are closed with `stack`."""
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


def external_principal(issuer: ExternalIssuer, claims: Mapping[str, Any]) -> Principal:
    """The principal of verified claims: kind `user`, subject `external:<prefix>:<sub>`.

    Its role is `anonymous` when no value of the role claim is in the issuer's table: every scope
    is then refused with 403. Unauthenticated if the token names nobody.
    """
    subject = claims["sub"]
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise refused("names nobody")
    role = mapped_role(issuer.roles, said(claims, issuer.role_claim))
    return Principal(issuer.org_id, f"external:{issuer.subject_prefix}:{subject}", role, "user")


def mapped_role(roles: Mapping[str, Role], values: Iterable[str]) -> Role:
    """The strongest role that `values` are mapped to; 'anonymous' if none is."""
    found = {roles[value] for value in values if value in roles}
    return next((role for role in _STRONGEST_FIRST if role in found), "anonymous")


def said(claims: Mapping[str, Any], way: Iterable[str]) -> list[str]:
    """The texts of the claim at the end of the path `way`: itself, or those in its list."""
    value: Any = claims
    for name in way:
        value = value.get(name) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    return [one for one in values[:_MAX_VALUES] if isinstance(one, str)]
