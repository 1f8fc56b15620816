from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.process import (
    Launch,
    ProcessId,
    identify,
    is_alive,
    resident_bytes,
    running_in,
    spawn,
    stop,
)

TERMINATE_OR_KILL = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessId]:
    process = spawn(Launch(["sleep", "60"], tmp_path, tmp_path / "log"))
    yield process
    stop(process, TERMINATE_OR_KILL)


def test_a_server_has_a_session_of_its_own_and_nothing_of_our_environment(
    sleeper: ProcessId, tmp_path: Path
) -> None:
    process = psutil.Process(sleeper.pid)
    assert os.getsid(sleeper.pid) != os.getsid(0)
    assert process.ppid() != os.getpid()
    assert process.cwd() == str(tmp_path)
    assert set(process.environ()) <= {"PATH", "LC_ALL", "TZ", "HOME", "PWD", "OLDPWD", "_"}


def test_arguments_reach_the_server_literally(tmp_path: Path) -> None:
    words = ["a b", "$HOME", "'\"", "`id`", "客户", ""]
    script = "import sys; print(sys.argv[1:], flush=True)"
    process = spawn(Launch([sys.executable, "-c", script, *words], tmp_path, tmp_path / "log"))
    while is_alive(process):
        time.sleep(0.01)
    assert (tmp_path / "log").read_text().strip() == str(words)


def test_a_process_is_found_by_where_it_works(sleeper: ProcessId, tmp_path: Path) -> None:
    assert running_in(tmp_path, "sleep") == [sleeper]
    assert running_in(tmp_path, "redis-server") == []
    assert running_in(tmp_path / "other", "sleep") == []


def test_the_same_pid_at_another_time_is_another_process(sleeper: ProcessId) -> None:
    assert is_alive(sleeper)
    assert not is_alive(ProcessId(sleeper.pid, sleeper.created - 60))
    assert stop(ProcessId(sleeper.pid, sleeper.created - 60), TERMINATE_OR_KILL)
    assert is_alive(sleeper)


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = identify(child.pid)
    child.kill()
    assert process is not None
    while is_alive(process):
        time.sleep(0.01)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    child.wait()


def test_what_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; while :; do sleep 0.05; done"
    process = spawn(Launch(["sh", "-c", script], tmp_path, tmp_path / "log"))
    time.sleep(0.2)
    assert stop(process, ((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0)))
    assert not is_alive(process)


def test_memory_is_measured_in_bytes(sleeper: ProcessId) -> None:
    while resident_bytes(sleeper) < 100_000:  # it has only just begun
        time.sleep(0.01)
    assert resident_bytes(sleeper) < 50_000_000
    assert resident_bytes(ProcessId(99_999_999, 0)) == 0


def test_a_program_that_is_missing_is_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = spawn(Launch([str(tmp_path / "nothing")], tmp_path, log))
    while is_alive(process):
        time.sleep(0.01)
    assert "not found" in log.read_text()


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStoreError, match=r"could not run sleep in .*gone: .*No such file"):
        spawn(Launch(["sleep", "1"], tmp_path / "gone", tmp_path / "log"))
