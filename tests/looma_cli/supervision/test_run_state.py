"""One supervisor per home, and what is known about it when it is gone."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from looma_cli.supervision.run_state import AlreadyUp, RunFiles, Running, RunState, living
from shared.errors import ConfigError

STATE = RunState(
    os.getpid(), 1e9, "http://127.0.0.1:8206", True, (Running("auth", "u", None, "ready", 0),)
)

HOLD = """
import sys, time
from pathlib import Path
from looma_cli.supervision.run_state import RunFiles, RunState
files = RunFiles(Path(sys.argv[1]))
with files.held():
    files.write(RunState(4711, 1e9, "http://127.0.0.1:8206", True, ()))
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_supervisor_is_told_who_is_first(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "home")
    assert not files.is_held()
    with files.held():
        files.write(STATE)
        assert files.is_held()
        who = rf"already up .*127\.0\.0\.1:8206 \(process {os.getpid()}\)"
        with pytest.raises(AlreadyUp, match=who):
            RunFiles(tmp_path / "home").held().__enter__()
    assert not files.is_held()
    assert files.read() is None


def test_one_that_still_starts_is_not_taken_for_an_earlier_one(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    with files.held():
        who = rf"Another `looma up` \(process {os.getpid()}\) is starting on {tmp_path}"
        with pytest.raises(AlreadyUp, match=who):
            RunFiles(tmp_path).held().__enter__()
        files.write(replace(STATE, pid=4711))  # of one that was killed
        with pytest.raises(AlreadyUp, match=who):
            RunFiles(tmp_path).held().__enter__()
    assert files.read() is not None  # for `looma down`, which looks for its orphans


HOLD_GIVEN = """
import sys
from pathlib import Path
from looma_cli.supervision.run_state import RunFiles
with RunFiles(Path(sys.argv[1])).held(int(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_handed_to_a_child_without_a_moment_in_which_it_is_free(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    with files.held() as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD_GIVEN, str(tmp_path), str(lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lock,),
        )
    with child:
        assert files.is_held()
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyUp, match=rf"process {child.pid}\)"):
            files.held().__enter__()
        child.communicate()
    assert child.returncode == 0
    assert not files.is_held()


def test_a_descriptor_that_is_no_lock_gives_nobody_the_home(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    with files.held(), (tmp_path / "other").open("w") as other:
        for given in (other.fileno(), 1 << 20):
            with pytest.raises(AlreadyUp):
                RunFiles(tmp_path).held(given).__enter__()
        assert not other.closed


def test_a_killed_supervisor_frees_its_home_and_leaves_what_it_knew(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        files = RunFiles(tmp_path)
        assert files.is_held()
        process.kill()
    assert not files.is_held()
    state = files.read()
    assert state is not None
    assert state.pid == 4711
    with files.held():
        pass


def test_a_damaged_state_file_is_no_state(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.prepare()
    for text in ("", "{", "[]", '{"pid": 1}'):
        (tmp_path / "run" / "supervisor.json").write_text(text)
        assert files.read() is None


def test_a_pid_that_another_program_got_is_not_ours() -> None:
    mine = Running("auth", "u", os.getpid(), "ready", 0)
    assert living(RunState(999_999_999, 0.0, "", True, (mine,))) == []


def test_a_home_that_cannot_be_made_names_the_setting() -> None:
    with pytest.raises(ConfigError, match="LOOMA_HOME"):
        RunFiles(Path("/proc/looma")).prepare()
