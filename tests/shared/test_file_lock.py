"""A lock on a file: alone or shared, freed by its holder's end, inherited by a child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared.file_lock import FileLock, is_held


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a lock"


def test_one_holds_it_alone_until_it_lets_go(path: Path) -> None:
    assert not is_held(path)
    with FileLock.at(path) as one, FileLock.at(path) as other:
        assert not is_held(path)
        assert one.try_take()
        assert is_held(path)
        assert not other.try_take()
        assert not other.try_share()
    assert not is_held(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_those_who_share_it_keep_out_who_wants_it_alone(path: Path) -> None:
    with FileLock.at(path) as one:
        with FileLock.at(path) as other:
            one.share()
            assert other.try_share()
            assert not is_held(path)  # not by one alone
            assert not one.try_take()
        assert one.try_take()


def test_taking_waits_for_the_holder(path: Path) -> None:
    taken = threading.Event()

    def wait() -> None:
        with FileLock.at(path) as lock:
            lock.take()
            taken.set()

    holder = FileLock.at(path)
    holder.take()
    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not taken.wait(0.1)
    holder.close()
    assert taken.wait(5)
    waiting.join()


def test_looking_makes_no_file(path: Path) -> None:
    assert not is_held(path)
    assert not path.exists()


def test_a_killed_holder_holds_nothing(path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from shared.file_lock import FileLock\n"
        "lock = FileLock.at(Path(sys.argv[1])); lock.take(); print('held', flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_held(path)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(5)
    assert not is_held(path)


def test_a_child_that_inherits_it_holds_it_on(path: Path) -> None:
    with FileLock.at(path) as lock:
        lock.take()
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], pass_fds=[lock.descriptor], stdin=subprocess.PIPE
        )
    assert is_held(path)
    child.communicate(b"\n", timeout=5)
    assert not is_held(path)
