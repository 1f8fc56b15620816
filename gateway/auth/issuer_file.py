"""The file of external issuers: whose tokens are taken beside ours, read and checked at start.

What an issuer may say is fixed here and nowhere else. It speaks for one organisation; where its
keys are is never taken from a token; a role comes out of `roles` or not at all.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from gateway.auth.jwks import ASYMMETRIC
from shared.errors import ConfigError
from shared.security import NO_ORG, USER_ROLES, Role

_MAX_ISSUERS: Final = 100
_MAX_LIFE: Final = range(60, 86_401)  # seconds
_LIFE_S: Final = 3600
_PREFIX: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_BEGINS: Final = ("nbf", "iat")
_REQUIRED: Final = frozenset(
    {
        "issuer", "jwks_url", "algorithms", "audience", "org_id", "subject_prefix", "role_claim",
        "roles",
    }
)  # fmt: skip
_KNOWN: Final = _REQUIRED | {"ca_file", "begins", "max_life"}


@dataclass(frozen=True, slots=True)
class ExternalIssuer:
    """One identity provider, and what its tokens can say here."""

    issuer: str  # `iss`, to the letter
    jwks_url: str
    algorithms: tuple[str, ...]
    audience: str
    org_id: UUID
    subject_prefix: str
    role_claim: tuple[str, ...]  # the names on the way to the claim
    roles: Mapping[str, Role] = field(default_factory=dict)  # a value of that claim → role
    ca_file: Path | None = None
    begins: str = "nbf"
    max_life: int = _LIFE_S


def read_issuers(path: Path | None, own_issuer: str) -> tuple[ExternalIssuer, ...]:
    """The issuers of a file; ConfigError that names file, issuer, problem and fix."""
    if path is None:
        return ()
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"GATEWAY_ISSUERS: can't read {path}: {error.strerror}. Name a readable TOML file."
        ) from error
    except ValueError as error:
        raise ConfigError(f"GATEWAY_ISSUERS: {path} is not TOML: {error}.") from error
    return parse_issuers(document, own_issuer, source=str(path))


def parse_issuers(
    document: Mapping[str, Any], own_issuer: str, *, source: str
) -> tuple[ExternalIssuer, ...]:
    """`document` is a parsed file: {"issuer": [{issuer, jwks_url, …}, …]}."""
    items = document.get("issuer")
    if set(document) != {"issuer"} or not isinstance(items, list):
        raise ConfigError(f"{source} must hold [[issuer]] tables and nothing else.")
    if len(items) > _MAX_ISSUERS:
        raise ConfigError(f"{source}: {len(items)} issuers are too many. Keep {_MAX_ISSUERS}.")
    issuers = tuple(_issuer(item, f"{source}: issuer {n}") for n, item in enumerate(items, 1))
    names, prefixes = {own_issuer}, set[str]()
    for one in issuers:
        if one.issuer in names:
            raise ConfigError(
                f"{source}: {one.issuer} is named twice, or is TOKEN_ISSUER. Each `iss` has one "
                "entry."
            )
        if one.subject_prefix in prefixes:
            raise ConfigError(
                f"{source}: {one.issuer}: another issuer has the subject_prefix "
                f"{one.subject_prefix!r}; people of both would be taken for one. Choose another."
            )
        names.add(one.issuer)
        prefixes.add(one.subject_prefix)
    return issuers


def _issuer(item: object, label: str) -> ExternalIssuer:
    if not isinstance(item, dict):
        raise ConfigError(f"{label} must be a table.")
    if isinstance(item.get("issuer"), str):
        label = f"{label} ({item['issuer']})"
    if missing := sorted(_REQUIRED - set(item)):
        raise ConfigError(f"{label}: {missing[0]} is missing.")
    if unknown := sorted(set(item) - _KNOWN):
        raise ConfigError(
            f"{label}: unknown {unknown[0]!r}. Known are {', '.join(sorted(_KNOWN))}."
        )
    ca_file = _text(item, "ca_file", label) if "ca_file" in item else None
    return ExternalIssuer(
        issuer=_text(item, "issuer", label),
        jwks_url=_jwks_url(_text(item, "jwks_url", label), label),
        algorithms=_algorithms(item["algorithms"], label),
        audience=_text(item, "audience", label),
        org_id=_org_id(_text(item, "org_id", label), label),
        subject_prefix=_prefix(_text(item, "subject_prefix", label), label),
        role_claim=_claim(item["role_claim"], label),
        roles=_roles(item["roles"], label),
        ca_file=None if ca_file is None else _ca_file(ca_file, label),
        begins=_begins(item.get("begins", "nbf"), label),
        max_life=_life(item.get("max_life", _LIFE_S), label),
    )


def _text(item: Mapping[str, Any], key: str, label: str) -> str:
    value = item[key]
    if not isinstance(value, str) or not value.strip() or len(value) > 2000:
        raise ConfigError(f"{label}: {key} must be a text that is not empty.")
    return value


def _jwks_url(text: str, label: str) -> str:
    try:
        parts = urlsplit(text)
        fits = bool(parts.hostname) and (parts.scheme == "https" or _is_local(parts))
        fits = fits and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or parts.fragment:
        raise ConfigError(
            f"{label}: jwks_url {text!r} does not fit. It must be https://host/path (http only on "
            "this machine), without user, password and #."
        )
    return text


def _is_local(parts: SplitResult) -> bool:
    if parts.scheme != "http" or parts.hostname is None:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def _algorithms(value: object, label: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or any(one not in ASYMMETRIC for one in value):
        raise ConfigError(
            f"{label}: algorithms {value!r} do not fit. It must be a list of some of "
            f"{', '.join(ASYMMETRIC)}; a shared secret can't tell who signed."
        )
    return tuple(value)


def _org_id(text: str, label: str) -> UUID:
    try:
        org_id = UUID(text)
    except ValueError:
        org_id = NO_ORG
    if org_id == NO_ORG:
        raise ConfigError(
            f"{label}: org_id {text!r} is no organisation's id. `looma orgs list` shows them."
        )
    return org_id


def _prefix(text: str, label: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ConfigError(
            f"{label}: subject_prefix {text!r} must be a short word of a-z, 0-9 and -, such as acme."
        )
    return text


def _claim(value: object, label: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if (
        not isinstance(names, list)
        or not 0 < len(names) <= 8
        or not all(isinstance(name, str) and name for name in names)
    ):
        raise ConfigError(
            f'{label}: role_claim must be a claim\'s name, such as "groups", or the names on the '
            'way to it, such as ["realm_access", "roles"].'
        )
    return tuple(names)


def _roles(value: object, label: str) -> Mapping[str, Role]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(
            f'{label}: roles must map values of role_claim to roles, such as {{ "crm-leads" = '
            '"analyst" }. Who has none of them has no access.'
        )
    for said, role in value.items():
        if role not in USER_ROLES:
            raise ConfigError(
                f"{label}: roles: {said!r} = {role!r}: there is no such role. Known are "
                f"{', '.join(USER_ROLES)}."
            )
    return cast("Mapping[str, Role]", dict(value))


def _ca_file(text: str, label: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ConfigError(f"{label}: ca_file: there is no file {text}. Name a PEM file.")
    return path


def _begins(value: object, label: str) -> str:
    if value not in _BEGINS:
        raise ConfigError(
            f"{label}: begins must be nbf, or iat for an issuer whose tokens have no nbf."
        )
    return str(value)


def _life(value: object, label: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _MAX_LIFE:
        raise ConfigError(f"{label}: max_life must be a number of seconds from 60 to 86400.")
    return value
