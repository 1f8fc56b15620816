"""The file of external issuers (GATEWAY_ISSUERS), read and checked at start.

What an issuer may say is fixed here and nowhere else. It speaks for one organisation; where its
keys are is never taken from a token; a role comes out of `roles` or not at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from gateway.auth.jwks import ASYMMETRIC
from shared.errors import ConfigError
from shared.security import NO_ORG, USER_ROLES, Role
from shared.serving.toml_file import Table, checked, one_of, read_toml

_MAX_ISSUERS: Final = 100


def _jwks_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        fits = bool(parts.hostname) and (parts.scheme == "https" or _is_local(parts))
        fits = fits and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or parts.fragment:
        # Without the text: it may hold a password.
        raise ValueError(
            "this does not fit. It must be https://host/path (http only on this machine), without "
            "user, password and #."
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


def _org_id(text: object) -> UUID:
    try:
        org_id = UUID(str(text))
    except ValueError:
        org_id = NO_ORG
    if org_id == NO_ORG:
        raise ValueError(f"{text!r} is no organisation's id. `looma orgs list` shows them.")
    return org_id


def _role(role: object) -> object:
    if role not in USER_ROLES:
        raise ValueError(f"{role!r}: there is no such role. Known are {', '.join(USER_ROLES)}.")
    return role


def _file(path: Path) -> Path:
    try:
        there = path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise ValueError(f"can't read {path}: {error.strerror}. Name a PEM file.") from error
    if not there:
        raise ValueError(f"there is no file {path}. Name a PEM file.")
    return path


def _text() -> Any:
    return Field(
        min_length=1, max_length=2000, pattern=r"\S", description="a text that is not empty"
    )


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class ExternalIssuer(Table):
    """One identity provider, and what its tokens can say here: an entry of the file."""

    issuer: str = _text()  # `iss`, to the letter
    jwks_url: Annotated[str, AfterValidator(_jwks_url)] = _text()
    # Lists: TOML has no tuples.
    algorithms: Annotated[tuple[Annotated[str, one_of(ASYMMETRIC)], ...], Strict(False)] = Field(
        min_length=1,
        description=f"a list of some of {', '.join(ASYMMETRIC)}; a shared secret can't tell who "
        "signed",
    )
    audience: str = _text()
    org_id: Annotated[UUID, BeforeValidator(_org_id)]
    subject_prefix: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,31}$",
        description="a short word of a-z, 0-9 and -, such as acme",
    )
    role_claim: Annotated[  # the names on the way to the claim
        tuple[Annotated[str, Field(min_length=1)], ...], Strict(False), BeforeValidator(_as_list)
    ] = Field(
        min_length=1,
        max_length=8,
        description='a claim\'s name, such as "groups", or the names on the way to it, such as '
        '["realm_access", "roles"]',
    )
    roles: dict[str, Annotated[Role, BeforeValidator(_role)]] = Field(  # a value of it → role
        min_length=1,
        description='a table of roles by values of role_claim, such as { "crm-leads" = "analyst" }; '
        "who has none of them has no access",
    )
    ca_file: Annotated[Path | None, Strict(False), AfterValidator(_file)] = Field(
        None, description="the name of a PEM file"
    )
    begins: Literal["nbf", "iat"] = Field(
        "nbf", description="nbf, or iat for an issuer whose tokens have no nbf"
    )
    max_life: int = Field(
        3600, ge=60, le=86_400, description="a number of seconds from 60 to 86400"
    )


def read_issuers(path: Path | None, own_issuer: str) -> tuple[ExternalIssuer, ...]:
    """The issuers of a file; ConfigError that names file, issuer, field, problem and fix."""
    if path is None:
        return ()
    return parse_issuers(read_toml(path, "GATEWAY_ISSUERS"), own_issuer, source=str(path))


def parse_issuers(
    document: Mapping[str, Any], own_issuer: str, *, source: str
) -> tuple[ExternalIssuer, ...]:
    """`document` is a parsed file: {"issuer": [{issuer, jwks_url, …}, …]}."""
    items = document.get("issuer")
    if set(document) != {"issuer"} or not isinstance(items, list):
        raise ConfigError(f"{source} must hold [[issuer]] tables and nothing else.")
    if len(items) > _MAX_ISSUERS:
        raise ConfigError(f"{source}: {len(items)} issuers are too many. Keep {_MAX_ISSUERS}.")
    issuers = tuple(
        checked(ExternalIssuer, item, _label(item, f"{source}: issuer {number}"))
        for number, item in enumerate(items, 1)
    )
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


def _label(item: object, place: str) -> str:
    named = item.get("issuer") if isinstance(item, dict) else None
    return f"{place} ({named})" if isinstance(named, str) else place
