"""The unprivileged account that PostgreSQL runs as when we are root, which it refuses to be."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from shared.embedded.errors import EmbeddedStoreError

ACCOUNT_NAME = "looma"
_ADD_COMMANDS = (
    ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", ACCOUNT_NAME],
    ["adduser", "-S", "-H", "-D", "-s", "/bin/false", ACCOUNT_NAME],  # BusyBox
)

# POSIX access control list in an extended attribute: acl(5), linux/posix_acl_xattr.h.
_ACL = "system.posix_acl_access"
_ACL_VERSION = struct.pack("<I", 2)
_ACL_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_EXECUTE = 1


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int


def server_account() -> Account | None:
    """The account for servers that refuse to run as root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    return _look_up() or _create()


def _look_up() -> Account | None:
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def _create() -> Account:
    problem = "neither useradd nor adduser is installed"
    for command in _ADD_COMMANDS:
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - constant commands
        account = _look_up()  # also when another process has just created it
        if account is not None:
            return account
        problem = done.stderr.strip().replace("\n", " ")
    raise EmbeddedStoreError(
        f"PostgreSQL does not run as root and its account {ACCOUNT_NAME!r} could not be created "
        f"({problem}): create it by hand, or run looma as an ordinary user"
    )


def let_reach(account: Account, path: Path) -> list[Path]:
    """Let the account pass through every folder above `path`; returns those that were closed.

    Only that account gets in, through an access control list; on a filesystem without such
    lists, everybody may pass (not list) the folder.
    """
    opened = [folder for folder in path.parents if not _may_pass(account, folder)]
    for folder in opened:
        try:
            _allow_passing(account, folder)
        except OSError as error:
            raise EmbeddedStoreError(
                f"the account {ACCOUNT_NAME!r} cannot reach {path} because {folder} is closed to "
                f"it ({error.strerror}): run `chmod o+x {folder}`, or choose another home"
            ) from error
    return opened


def _may_pass(account: Account, folder: Path) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _allow_passing(account: Account, folder: Path) -> None:
    mode = folder.stat().st_mode
    try:
        value = with_user_execute(_read_acl(folder), mode, account.uid)
        os.setxattr(folder, _ACL, value)
    except (OSError, AttributeError):  # no such lists here, or a system without os.setxattr
        folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _read_acl(folder: Path) -> bytes:
    try:
        return os.getxattr(folder, _ACL)
    except OSError:  # has none beyond its mode
        return b""


def with_user_execute(acl: bytes, mode: int, uid: int) -> bytes:
    """An access control list (empty: the one that `mode` stands for) in which `uid` may execute."""
    entries = {
        (tag, who): permissions
        for tag, permissions, who in _ACL_ENTRY.iter_unpack(acl[len(_ACL_VERSION) :])
    } or {
        (_USER_OBJ, _NO_ID): mode >> 6 & 7,
        (_GROUP_OBJ, _NO_ID): mode >> 3 & 7,
        (_OTHER, _NO_ID): mode & 7,
    }
    entries[_USER, uid] = entries.get((_USER, uid), 0) | _EXECUTE
    mask = entries.get((_MASK, _NO_ID), entries[_GROUP_OBJ, _NO_ID])
    entries[_MASK, _NO_ID] = mask | _EXECUTE
    packed = (_ACL_ENTRY.pack(tag, entries[tag, who], who) for tag, who in sorted(entries))
    return _ACL_VERSION + b"".join(packed)


def make_readable(folder: Path) -> None:
    """Let everybody read an installed folder, as a root with a closed umask may not have."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        wanted = stat.S_IRGRP | stat.S_IROTH
        if mode & stat.S_IXUSR:
            wanted |= stat.S_IXGRP | stat.S_IXOTH
        if mode & wanted != wanted:
            path.chmod(stat.S_IMODE(mode) | wanted)
