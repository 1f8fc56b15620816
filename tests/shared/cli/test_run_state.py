"""One supervisor per home, and what is known about it when it is gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.cli.run_state import AlreadyUp, RunFiles, Running, RunState, living
from shared.errors import ConfigError

STATE = RunState(
    4711, 1e9, "http://127.0.0.1:8206", True, (Running("auth", "u", None, "ready", 0),)
)

HOLD = """
import sys, time
from pathlib import Path
from shared.cli.run_state import RunFiles, RunState
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
        with pytest.raises(AlreadyUp, match=r"already up .*127\.0\.0\.1:8206 \(process 4711\)"):
            RunFiles(tmp_path / "home").held().__enter__()
    assert not files.is_held()
    assert files.read() is None


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
