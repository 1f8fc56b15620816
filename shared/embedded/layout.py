"""Where everything of a home lies, and directories that only their owner may enter."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shared.embedded.account import Account
from shared.embedded.errors import EmbeddedStoreError

# sun_path holds 108 bytes on Linux and 104 on macOS, the final zero included.
_SOCKET_PATH_BYTES = 103


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of a home; `home` is absolute and without symbolic links."""

    home: Path
    logs: Path

    @classmethod
    def of(cls, home: Path, log_dir: Path | None = None) -> Layout:
        resolved = home.expanduser().resolve()
        return cls(resolved, (log_dir or resolved / "logs").expanduser().resolve())

    @property
    def lock(self) -> Path:
        return self.home / "stores.lock"

    @property
    def state(self) -> Path:
        return self.home / "stores.json"

    def directory(self, store: str) -> Path:
        return self.home / store

    def log(self, store: str) -> Path:
        return self.logs / f"{store}.log"

    def socket_directory(self, store: str, socket_name: str) -> Path:
        """The store's own directory, or a short one if a socket there would have too long a name.

        A comma would be read as a list of hosts by PostgreSQL clients.
        """
        directory = self.directory(store)
        name = os.fsencode(directory / socket_name)
        if len(name) <= _SOCKET_PATH_BYTES and b"," not in name:
            return directory
        return self.short_directory / store

    @property
    def short_directory(self) -> Path:
        """A directory for sockets with a short name that belongs to this home alone."""
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path(tempfile.gettempdir()).resolve() / f"looma-{os.geteuid()}-{digest}"

    def prepare(self) -> None:
        """Create the home and the folder of logs; nobody else may list or change the home."""
        private_directory(self.home)
        try:
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedStoreError(
                f"the log folder {self.logs} could not be created ({error.strerror}): "
                "choose one that this user may write"
            ) from error


def private_directory(path: Path, account: Account | None = None) -> None:
    """Create a directory, or check one that exists: ours (or the account's), closed to others.

    Permission to pass through without listing is left alone: the account of PostgreSQL may
    have been given it.
    """
    owner = account.uid if account else os.geteuid()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise EmbeddedStoreError(f"{path} is not a directory: move it away")
        if status.st_uid != owner and account is not None and status.st_uid == os.geteuid():
            os.chown(path, account.uid, account.gid)
        elif status.st_uid != owner:
            raise EmbeddedStoreError(
                f"{path} belongs to user id {status.st_uid}, not {owner}: "
                "run looma as that user, or choose another home (LOOMA_HOME)"
            )
        if status.st_mode & 0o066:
            path.chmod(stat.S_IMODE(status.st_mode) & ~0o066)
    except OSError as error:
        raise EmbeddedStoreError(
            f"{path} cannot be used ({error.strerror}): choose a home that this user may write "
            "(LOOMA_HOME)"
        ) from error


def free_port(preferred: int | None = None) -> int:
    """A loopback port that nobody listens on: the preferred one if it is still free."""
    port = (preferred and _bind(preferred)) or _bind(0)
    if not port:
        raise EmbeddedStoreError("no port of 127.0.0.1 is free: end some programs that listen")
    return port


def is_free(port: int) -> bool:
    return _bind(port) is not None


def _bind(port: int) -> int | None:
    """The port (any for 0) if it could be had just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port with connections in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return int(probe.getsockname()[1])
