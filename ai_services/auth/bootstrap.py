"""The first start: one organisation and one admin, made once, whoever starts first.

There is no default password. A random one is shown once: whoever called `bootstrap` has it, and
a file in LOOMA_HOME that only its owner can read holds it until that admin has signed in.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from ai_services.auth import organisations
from ai_services.auth.emails import require_email
from ai_services.auth.sign_in.passwords import Passwords, random_password, require_password
from ai_services.auth.store import organisations as store
from ai_services.auth.store import users
from shared.audit import trail
from shared.config import Config
from shared.data_access.ports import Relational
from shared.errors import ConfigError, InvalidInput

_FILE: Final = "first-admin-password"
_ACTOR: Final = "service:auth"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What the first start makes; `password` None stands for a random one."""

    organisation: str
    timezone: str
    email: str
    password: str | None = field(repr=False)
    home: Path

    @classmethod
    def of(cls, config: Config) -> FirstStart:
        """From the settings; ConfigError that names the one that is wrong."""
        try:
            email = require_email(config.admin_email)
        except InvalidInput as error:
            raise _wrong("ADMIN_EMAIL", error, "ops@example.com") from error
        try:
            organisations.require_slug(config.organisation)
        except InvalidInput as error:
            raise _wrong("ORGANISATION", error, "acme") from error
        password = config.admin_password
        try:
            if password is not None:
                password = require_password(password, email=email)
        except InvalidInput as error:
            raise _wrong("ADMIN_PASSWORD", error, "a long pass phrase") from error
        return cls(config.organisation, config.default_timezone, email, password, config.home)

    @property
    def password_file(self) -> Path:
        return self.home / _FILE


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """What was made. `password` is the random one, None where the setting gave it."""

    org_id: UUID
    organisation: str
    email: str
    password: str | None = field(repr=False)
    password_file: Path | None


async def bootstrap(
    relational: Relational, passwords: Passwords, first: FirstStart, clock: Callable[[], datetime]
) -> BootstrapResult | None:
    """Make the first organisation and its admin; None if there is any organisation already."""
    async with relational.system() as tx:
        if await store.any_exists(tx):
            return None
    password = first.password or random_password()
    hashed = await passwords.hash(password)
    path = first.password_file if first.password is None else None
    async with relational.system() as tx:
        await store.lock_first_start(tx)
        if await store.any_exists(tx):  # another process was first
            return None
        now = clock()
        made = await organisations.insert(
            tx, first.organisation, first.organisation, first.timezone, actor=_ACTOR, at=now
        )
        user = await users.insert(
            tx, made.org_id, email=first.email, name="", role="admin", password_hash=hashed, at=now
        )
        assert user is not None  # without organisations there is no user whose address it could be
        await trail.record(
            tx, made.org_id, at=now, actor=_ACTOR, action="user.created", target=user.subject,
            details={"email": first.email, "role": "admin"},
        )  # fmt: skip
        if path is not None:
            # Before the commit: a file too many is harmless, a password that nobody has is not.
            _write(path, password)
    log.info(
        "first organisation and admin made", organisation=first.organisation, email=first.email,
        password_file=str(path) if path else "ADMIN_PASSWORD",
    )  # fmt: skip
    shown = password if path else None
    return BootstrapResult(made.org_id, first.organisation, first.email, shown, path)


def take_password(first: FirstStart) -> str | None:
    """The random password of the first start, if it still waits to be shown; its file goes."""
    try:
        password = first.password_file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    first.password_file.unlink(missing_ok=True)
    return password


def _write(path: Path, password: str) -> None:
    """Replace `path` by a file that only its owner can read."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(password + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(
            f"LOOMA_HOME: can't keep the first password in {path}: {error.strerror}. "
            "Point LOOMA_HOME at a directory that this user may write, or set ADMIN_PASSWORD."
        ) from error


def _wrong(setting: str, error: InvalidInput, example: str) -> ConfigError:
    (wrong,) = error.details  # which names the field, not the setting
    return ConfigError(f"{setting}: {wrong.problem}; {wrong.fix}. Example: {setting}={example}")
