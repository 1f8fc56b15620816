"""Whom a token of an external issuer speaks for.

The organisation is the issuer's, whatever the token says. The role comes from one claim by the
issuer's table; whoever has none of its values is signed in and may do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.auth.access_tokens import refused
from gateway.auth.issuer_file import ExternalIssuer
from shared.security import Principal, Role

_SUBJECT: Final = re.compile(r"[!-~]{1,255}")  # OpenID Connect Core 1.0 §2: at most 255 of ASCII
_MAX_VALUES: Final = 1000
_STRONGEST_FIRST: Final[tuple[Role, ...]] = ("admin", "analyst", "service", "agent")


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
    """The texts of the claim at the end of `way`: itself, or those in its list."""
    value: Any = claims
    for name in way:
        value = value.get(name) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    return [one for one in values[:_MAX_VALUES] if isinstance(one, str)]
