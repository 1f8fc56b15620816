"""The data directory: who may read it, and the secrets that are made once and kept in it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from shared.config import Config
from shared.errors import ConfigError


def secret(home: Path, name: str) -> bytes:
    """The secret `name` of this home: 64 hex digits, made at first use, readable by the owner only.

    Two processes that ask at once get the same one. Raises ConfigError if the home can't be written.
    """
    folder = home / "secrets"
    path = folder / name
    try:
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            fresh = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(fresh, path)  # fails if another process was first: theirs counts
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"LOOMA_HOME: can't keep secrets in {folder}: {error.strerror}. "
            "Point LOOMA_HOME at a directory that this user may write."
        ) from error


def internal_token_secret(config: Config) -> bytes:
    return config.internal_token_secret or secret(config.home, "internal-token")


def data_key(config: Config) -> bytes:
    return config.data_key or secret(config.home, "data-key")
