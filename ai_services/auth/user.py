"""A user as the store keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from shared.data_access.ports import Row
from shared.errors import Forbidden
from shared.security import ROLE_SCOPES, Principal, Role


@dataclass(frozen=True, slots=True)
class User:
    """Someone who signs in. `email` is normalised and unique over all organisations."""

    org_id: UUID
    user_id: UUID
    email: str
    name: str
    role: Role
    disabled: bool
    created_at: datetime
    updated_at: datetime
    password_hash: str = field(repr=False)

    @classmethod
    def of(cls, row: Row) -> User:
        return cls(**{name: row[name] for name in cls.__slots__})

    @property
    def subject(self) -> str:
        return f"user:{self.user_id}"


def user_id_of(principal: Principal) -> UUID | None:
    """The user behind a principal; None for API keys, services and the anonymous."""
    if principal.kind != "user":
        return None
    try:
        return UUID(principal.subject.removeprefix("user:"))
    except ValueError:
        return None


def require_grantable(principal: Principal, role: Role) -> None:
    """Raise Forbidden if `role` may do something that `principal` may not."""
    if not ROLE_SCOPES[role] <= principal.scopes:
        raise Forbidden(f"Your role {principal.role!r} can't grant {role!r}. Ask an admin.")
