"""Wire types of the auth service."""

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from ai_services.auth.api_keys import NewApiKey
from ai_services.auth.profile import Profile
from ai_services.auth.tokens.revocations import Changes
from shared.cursor import Cursor
from shared.instant import Instant

UserRole = Literal["admin", "analyst", "agent", "service"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError(
            "text",
            "has characters that can't be shown: control characters, line breaks, unassigned ones",
            {"fix": "remove them"},
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
    end_keys: bool = Field(False, description="end the user's API keys, too")


class PasswordIn(_In):
    password: Password = Field(description="12 to 256 characters")
    end_keys: bool = Field(False, description="end the user's API keys, too")


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

    @classmethod
    def of(cls, profile: Profile) -> "Me":
        principal, user = profile.principal, profile.user
        return cls(
            subject=principal.subject,
            kind=principal.kind,
            role=principal.role,
            scopes=sorted(principal.scopes),
            organisation=OrganisationOut.model_validate(profile.organisation),
            user=None if user is None else UserOut.model_validate(user),
        )


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
    expires_at: Instant | None = Field(
        None, description="null: until it is revoked, or the key that makes it ends"
    )


class ApiKeyOut(_Out):
    key_id: UUID
    name: str
    role: UserRole = Field(description="what it was made for")
    role_now: UserRole | None = Field(
        description="what it counts for: at most what its owner is now; null: it has ended"
    )
    prefix: str = Field(description="the key's first characters, to recognise it")
    created_by: UUID | None
    owner_id: UUID | None = Field(description="the user it ends with; null: the organisation")
    made_by_key: UUID | None = Field(
        description="it is revoked with that key; null: no key made it"
    )
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


class TransferIn(_In):
    role: UserRole = Field(description="what it keeps: at most what it has, and analyst")


class NewApiKeyOut(ApiKeyOut):
    secret: str = Field(repr=False, description="the whole key, shown this once; send as X-API-Key")

    @classmethod
    def of(cls, made: NewApiKey) -> "NewApiKeyOut":
        return cls(**ApiKeyOut.model_validate(made.key).model_dump(), secret=made.secret)


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
    role: UserRole = Field(validation_alias="role_now")
    expires_at: dt.datetime | None


class RevocationsQuery(_In):
    since: Instant | None = Field(None, description="as_of of the poll before")
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

    @classmethod
    def of(cls, changes: Changes) -> "RevocationPage":
        items = [RevocationOut.model_validate(item) for item in changes.page.items]
        return cls(items=items, next_cursor=changes.page.next_cursor, as_of=changes.as_of)


class Jwks(_Out):
    """A JWK set (RFC 7517), without the envelope."""

    keys: list[dict[str, Any]]
