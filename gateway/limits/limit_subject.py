"""Whom a limit counts: the subject of a request in the limit's scope, and the key in Redis."""

from __future__ import annotations

import hashlib
import ipaddress
from functools import lru_cache
from typing import Final
from uuid import UUID

from gateway.limits.limit import Scope
from shared.security import Principal

Subject = str | UUID
_KEY_LENGTH: Final = 120


def subject_of(scope: Scope, principal: Principal | None, address: str) -> Subject:
    """Equal for requests that count together. A caller who is not known counts by address."""
    if scope == "route":
        return ""
    if scope == "address" or principal is None:
        return _network(address) if ":" in address else address
    if scope == "organisation":
        return principal.org_id
    if principal.kind in ("user", "key"):  # `user:<uuid>`: no two organisations share one
        return principal.subject
    return f"{principal.org_id}:{principal.subject}"


def key_of(rule: str, subject: Subject) -> str:
    """The key of a rule's subject, of bounded length whatever they hold."""
    key = f"limit:{rule}:{subject}"
    if len(key) <= _KEY_LENGTH and key.isascii():
        return key
    return "limit:#" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


@lru_cache(maxsize=10_000)
def _network(address: str) -> str:
    """Whoever has one IPv6 address has 2^64 of them: what is counted is the /64."""
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
