"""Wire types of the auth service."""

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from shared.cursor import Cursor

UserRole = Literal["admin", "analyst", "agent", "service"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError(
            "text", "has control characters or line breaks", {"fix": "remove them"}
        )
    return text


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(_printable)
]
FilledName = Annotated[Name, StringConstraints(min_length=1)]
Email = Annotated[str, StringConstraints(max_length=320)]
# Longer than any password accepted: what it is after normalisation is checked later.
Password = Annotated[str, Field(max_length=1024, repr=False)]
Limit = Annotated[int, Field(ge=1, le=200)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class LoginIn(_In):
    email: Email
    password: Password


class RefreshIn(_In):
    refresh_token: str = Field(max_length=200, repr=False)


class PasswordChangeIn(_In):
    current_password: Password
    new_password: Password = Field(description="12 to 256 characters")


class PasswordIn(_In):
    password: Password = Field(description="12 to 256 characters")


class SessionsEnded(_Out):
    sessions_ended: int


class UserOut(_Out):
    user_id: UUID
    email: str
    name: str
    role: UserRole
    disabled: bool
    created_at: dt.datetime
    updated_at: dt.datetime


class TokensOut(_Out):
    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False, description="good for one use, then replaced")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme's name
    expires_in: int = Field(description="seconds that the access token lives")
    user: UserOut


class OrganisationOut(_Out):
    org_id: UUID
    slug: str
    name: str
    timezone: str


class Me(_Out):
    """The caller; `user` is null for API keys and for tokens minted by an operator."""

    subject: str
    kind: str
    role: str
    scopes: list[str]
    organisation: OrganisationOut
    user: UserOut | None


class UserIn(_In):
    email: Email
    name: Name = ""
    role: UserRole
    password: Password = Field(description="12 to 256 characters")


class UserChangeIn(_In):
    """What is left out stays as it is."""

    name: Name | None = None
    role: UserRole | None = None
    disabled: bool | None = None


class ListQuery(_In):
    limit: Limit = 50
    cursor: Cursor | None = None


class UserPage(_Out):
    items: list[UserOut]
    next_cursor: str | None


class ApiKeyIn(_In):
    name: FilledName
    role: UserRole
    expires_at: AwareDatetime | None = Field(None, description="null: until it is revoked")


class ApiKeyOut(_Out):
    key_id: UUID
    name: str
    role: UserRole
    prefix: str = Field(description="the key's first characters, to recognise it")
    created_by: UUID | None
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


class NewApiKeyOut(ApiKeyOut):
    secret: str = Field(repr=False, description="the whole key, shown this once; send as X-API-Key")


class ApiKeyPage(_Out):
    items: list[ApiKeyOut]
    next_cursor: str | None


class AuditEntryOut(_Out):
    # A 64-bit number, which JavaScript can't hold: a string, as everywhere.
    seq: Annotated[str, BeforeValidator(str)]
    at: dt.datetime
    actor: str
    action: str
    target: str
    details: dict[str, Any]


class AuditPage(_Out):
    items: list[AuditEntryOut]
    next_cursor: str | None


class KeyHashIn(_In):
    hash: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the API key, hexadecimal")


class VerifiedKey(_Out):
    org_id: UUID
    key_id: UUID
    role: UserRole
    expires_at: dt.datetime | None


class RevocationsQuery(_In):
    since: AwareDatetime | None = Field(None, description="as_of of the poll before")
    cursor: Cursor | None = None
    limit: int = Field(1000, ge=1, le=5000)


class RevocationOut(_Out):
    org_id: UUID
    subject: str = Field(description="session:<id>, the `sid` of its tokens, or key:<id>")
    revoked_at: dt.datetime
    expires_at: dt.datetime = Field(description="after which nothing of it is alive anyway")


class RevocationPage(_Out):
    items: list[RevocationOut]
    next_cursor: str | None
    as_of: dt.datetime = Field(description="send as `since` of the next poll, after the last page")


class Jwks(_Out):
    """A JWK set (RFC 7517), without the envelope."""

    keys: list[dict[str, Any]]
