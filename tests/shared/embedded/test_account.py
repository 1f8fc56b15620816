from __future__ import annotations

import os
import pwd
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.embedded.account import (
    let_reach,
    make_readable,
    server_account,
    with_user_execute,
)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which only root may do")
modes = st.integers(0, 0o777)
users = st.integers(1, 2**31)
ENTRY = struct.Struct("<HHI")
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 16, 32


def entries(acl: bytes) -> dict[tuple[int, int], int]:
    return {(tag, who): permissions for tag, permissions, who in ENTRY.iter_unpack(acl[4:])}


@given(modes, users)
def test_one_user_may_pass_and_nothing_else_changes(mode: int, user: int) -> None:
    acl = entries(with_user_execute(b"", mode, user))
    nobody = 0xFFFFFFFF
    assert acl[USER, user] == 1
    assert acl[USER_OBJ, nobody] == mode >> 6
    assert acl[GROUP_OBJ, nobody] == mode >> 3 & 7
    assert acl[OTHER, nobody] == mode & 7
    assert acl[MASK, nobody] == (mode >> 3 & 7) | 1
    assert len(acl) == 5


@given(modes, users, users)
def test_a_second_user_joins_the_first(mode: int, first: int, second: int) -> None:
    one = with_user_execute(b"", mode, first)
    both = with_user_execute(one, mode, second)
    assert entries(one).items() <= entries(both).items()
    assert entries(both)[USER, second] == 1
    assert with_user_execute(both, mode, first) == both


@root_only
def test_only_the_account_gets_through_a_closed_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    inner.chmod(0o755)
    account = server_account()
    assert account is not None

    def may_list(uid: int, folder: Path) -> bool:
        command = ["ls", str(folder)]
        return (
            subprocess.run(
                command, user=uid, group=uid, extra_groups=[], capture_output=True, check=False
            ).returncode
            == 0
        )

    assert not may_list(account.uid, inner)
    assert closed in let_reach(account, inner)
    assert may_list(account.uid, inner)
    assert not may_list(account.uid, closed)
    assert not may_list(pwd.getpwnam("nobody").pw_uid, inner)


@root_only
def test_a_closed_installation_becomes_readable(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir(mode=0o700)
    program, library = tmp_path / "bin" / "postgres", tmp_path / "lib.so"
    for path, mode in ((program, 0o700), (library, 0o600)):
        path.touch()
        path.chmod(mode)
    (tmp_path / "dangling").symlink_to("nowhere")
    make_readable(tmp_path)
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert stat.S_IMODE(library.stat().st_mode) == 0o644
    assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o055 == 0o055


@pytest.mark.skipif(os.geteuid() == 0, reason="root has an account for PostgreSQL")
def test_an_ordinary_user_needs_no_account() -> None:
    assert server_account() is None
