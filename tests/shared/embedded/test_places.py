"""Homes in difficult places: long, odd, closed, full, or another user's."""

from __future__ import annotations

import asyncio
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from shared.embedded.account import ACCOUNT_NAME
from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.layout import Layout, private_directory
from shared.embedded.stores import EmbeddedStores, find
from tests.shared.embedded.conftest import (
    REPOSITORY,
    SITE_PACKAGES,
    START,
    cache,
    graph_values,
    in_another_process,
    own_directory,
    rows,
    started,
    urls,
)

SOCKETS = frozenset({"postgres", "redis"})
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which only root may do")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x" * 120, "数" * 60, "a,b"], ids=["long", "long utf-8", "comma"])
async def test_sockets_move_where_their_names_fit(tmp_path: Path, name: str) -> None:
    home = tmp_path / name / ".looma"
    short = Layout.of(home).short_directory
    async with started(home, which=SOCKETS) as running:
        assert await rows(running.endpoints, "SELECT 1") == [1]
        async with cache(running.endpoints) as client:
            assert await client.ping()
        assert find(home) == running.endpoints
        assert stat.S_IMODE(short.stat().st_mode) & 0o066 == 0
        for store in ("postgres", "redis"):
            assert stat.S_IMODE((short / store).stat().st_mode) == 0o700
            assert not (home / store / "redis.sock").exists()
    assert not short.exists()


@pytest.mark.slow
async def test_all_stores_run_below_a_long_path(tmp_path: Path) -> None:
    async with started(tmp_path / ("long " * 40) / ".looma") as running:
        assert await graph_values(running.endpoints, "RETURN 1") == [1]
        assert await rows(running.endpoints, "SELECT 1") == [1]


async def test_quotes_and_percent_signs_in_a_path_are_taken_literally(tmp_path: Path) -> None:
    async with started(tmp_path / """a'b"c%20d\\e#f?g""", which=SOCKETS) as running:
        assert await rows(running.endpoints, "SELECT 1") == [1]
        async with cache(running.endpoints) as client:
            assert await client.ping()


async def test_a_home_reached_by_a_link_is_the_same_home(tmp_path: Path) -> None:
    async with started(tmp_path / "real", which=frozenset({"redis"})) as running:
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert find(tmp_path / "link") == running.endpoints


async def test_logs_go_where_they_are_told(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    async with started(tmp_path / "home", log_dir=logs, which=frozenset({"redis"})):
        assert "ready to accept" in (logs / "redis.log").read_text()
        assert stat.S_IMODE((logs / "redis.log").stat().st_mode) == 0o600


async def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("mine")
    with pytest.raises(EmbeddedStoreError, match=r"home cannot be used \(File exists\)"):
        await EmbeddedStores(home).start()
    assert home.read_text() == "mine"


@root_only
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(EmbeddedStoreError, match=r"belongs to user id \d+, not 0: run looma as"):
        private_directory(tmp_path)


def test_an_open_directory_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    private_directory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o711


async def test_data_of_another_postgres_are_not_touched(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")
    with pytest.raises(
        EmbeddedStoreError, match=r"written by PostgreSQL 15, the bundled one is 18"
    ):
        await EmbeddedStores(tmp_path, which=frozenset({"postgres"})).start()
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


async def test_the_reason_of_a_failed_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "dump.rdb").write_bytes(b"REDIS9999")
    with pytest.raises(
        EmbeddedStoreError, match=r"redis did not start: it ended; its last words: .*\(log: .*redis"
    ) as raised:
        await EmbeddedStores(tmp_path, which=frozenset({"redis"})).start()
    assert "\n" not in str(raised.value)
    assert find(tmp_path) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 30 MB, smaller than an empty PostgreSQL."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a small filesystem here")
    yield disk
    subprocess.run(["umount", disk], check=True)


@root_only
async def test_a_full_disk_is_named(small_disk: Path) -> None:
    stores = EmbeddedStores(small_disk / ".looma", which=frozenset({"postgres"}))
    with pytest.raises(EmbeddedStoreError, match=r"the disk is full: free some space") as raised:
        await stores.start()
    assert "\n" not in str(raised.value)


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    """A home that belongs to an ordinary user, below directories that it can enter."""
    with own_directory() as folder:
        folder.chmod(0o755)
        home = folder / ".looma"
        home.mkdir(mode=0o700)
        entry = pwd.getpwnam("nobody")
        os.chown(home, entry.pw_uid, entry.pw_gid)
        yield home


STOP = """
import asyncio, sys
from pathlib import Path
from shared.embedded.stores import EmbeddedStores
asyncio.run(EmbeddedStores(Path(sys.argv[1])).stop())
print("null")
"""
USE = """
import asyncio, json, os, sys
from pathlib import Path
import psutil
from shared.embedded.stores import EmbeddedStores
async def use():
    stores = EmbeddedStores(Path(sys.argv[1]))
    await stores.start()
    health = await stores.health()
    return {name: [one.up, psutil.Process(one.pid).uids().real] for name, one in health.items()}
print(json.dumps(asyncio.run(use())))
"""


@pytest.fixture(scope="module")
def python_of_nobody() -> str:
    """A Python of our version that the user nobody can run, with our packages."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, system):
        probe = subprocess.run(
            [*AS_NOBODY, python, "-c", "import shared.embedded.stores"],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": SITE_PACKAGES},
            capture_output=True,
            check=False,
        )
        if probe.returncode == 0:
            return python
    pytest.skip("the user nobody can read no Python of our version, or not this repository")


@pytest.mark.slow
@root_only
async def test_an_ordinary_user_runs_everything_itself(
    home_of_nobody: Path, python_of_nobody: str
) -> None:
    ordinary = partial(
        in_another_process, home=home_of_nobody, wrapper=AS_NOBODY, python=python_of_nobody
    )
    nobody = pwd.getpwnam("nobody").pw_uid
    try:
        used = await ordinary(USE)
        assert used == {name: [True, nobody] for name in ("postgres", "redis", "graph")}
        again = await ordinary(START)
        found = find(home_of_nobody)
        assert found is not None
        assert urls(found) == again
    finally:
        await ordinary(STOP)


@root_only
async def test_root_is_kept_out_of_the_home_of_an_ordinary_user(home_of_nobody: Path) -> None:
    with pytest.raises(EmbeddedStoreError, match=r"belongs to user id \d+, not 0"):
        await EmbeddedStores(home_of_nobody).start()


@pytest.mark.slow
@root_only
async def test_postgres_of_root_runs_as_its_own_account_below_a_closed_directory(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "root's own"
    closed.mkdir(mode=0o700)
    async with started(closed / ".looma", which=frozenset({"postgres"})) as running:
        pid = await running.pid("postgres")
        status = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
        account = pwd.getpwnam(ACCOUNT_NAME)
        assert f"Uid:\t{account.pw_uid}\t{account.pw_uid}" in status
        assert "Groups:\t \n" in status or f"Groups:\t{account.pw_gid} \n" in status
        others = await asyncio.create_subprocess_exec(
            *AS_NOBODY, "ls", closed / ".looma", stderr=asyncio.subprocess.DEVNULL
        )
        assert await others.wait() != 0


@pytest.mark.slow
@root_only
async def test_root_with_the_capabilities_of_a_container_manages_every_store(
    tmp_path: Path,
) -> None:
    """Such a root may not look into processes of other users, as that of PostgreSQL is one."""
    kept = "chown,dac_override,fowner,fsetid,kill,setgid,setuid"
    wrapper = ("setpriv", "--bounding-set", "-all," + ",".join(f"+{c}" for c in kept.split(",")))
    home = tmp_path / ".looma"
    stores = EmbeddedStores(home)
    try:
        first = await in_another_process(START, home, wrapper=wrapper)
        pid = (await stores.health())["postgres"].pid
        (home / "stores.json").unlink()
        assert await in_another_process(START, home, wrapper=wrapper) == first
        assert (await stores.health())["postgres"].pid == pid
        await in_another_process(STOP, home, wrapper=wrapper)
        assert not any(health.up for health in (await stores.health()).values())
    finally:
        await stores.stop()
