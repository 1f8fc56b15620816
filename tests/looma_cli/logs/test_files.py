"""Logs on disk: over their older files, while they are written and put aside."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from looma_cli.logs.files import MOST_BYTES, LogFile
from looma_cli.supervision.launch import rotate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth.log"


@pytest.fixture
def opened() -> Iterator[Callable[..., LogFile]]:
    with ExitStack() as stack:
        yield lambda *args: stack.enter_context(closing(LogFile(*args)))


def add(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def put_aside(path: Path) -> None:
    """As the supervised process does it."""
    with path.open("ab") as file:
        saved = [os.dup(1), os.dup(2)]
        os.dup2(file.fileno(), 2)
        try:
            rotate(path, limit=0)
        finally:
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            for one in saved:
                os.close(one)


def test_older_files_come_first(path: Path, opened: Callable[..., LogFile]) -> None:
    for number in range(4):
        add(path, f"line {number}")
        if number < 3:
            put_aside(path)
    log = opened(path)
    assert list(log.read()) == [b"line 0", b"line 1", b"line 2", b"line 3"]
    assert log.process == "auth"


def test_what_is_added_is_read_once_also_over_files_put_aside(
    path: Path, opened: Callable[..., LogFile]
) -> None:
    add(path, "a")
    log = opened(path)
    assert list(log.read()) == [b"a"]
    assert list(log.read()) == []
    add(path, "b")
    put_aside(path)
    add(path, "c")
    put_aside(path)
    add(path, "d")
    assert list(log.read()) == [b"b", b"c", b"d"]
    add(path, "e")
    assert list(log.read()) == [b"e"]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(
    path: Path, opened: Callable[..., LogFile]
) -> None:
    path.write_text("one\nhal")
    log = opened(path)
    assert list(log.read()) == [b"one"]
    with path.open("a") as file:
        file.write("f\n")
    assert list(log.read()) == [b"half"]
    path.write_text("one\nhal")
    assert list(opened(path).read(unfinished=True)) == [b"one", b"hal"]


def test_a_log_that_was_emptied_is_read_from_its_start(
    path: Path, opened: Callable[..., LogFile]
) -> None:
    add(path, "long enough", "to be seen")
    log = opened(path)
    assert len(list(log.read())) == 2
    os.truncate(path, 0)
    add(path, "new")
    assert list(log.read()) == [b"new"]


def test_a_log_that_comes_later_is_read_then(path: Path, opened: Callable[..., LogFile]) -> None:
    log = opened(path)
    assert list(log.read()) == []
    add(path, "a")
    assert list(log.read()) == [b"a"]


def test_old_files_are_passed_over(path: Path, opened: Callable[..., LogFile]) -> None:
    add(path, "old")
    put_aside(path)
    os.utime(path.with_name("auth.log.1"), (1000, 1000))
    add(path, "new")
    assert list(opened(path, 2000).read()) == [b"new"]


def test_a_line_of_any_length_takes_bounded_memory(
    path: Path, opened: Callable[..., LogFile]
) -> None:
    with path.open("wb") as file:
        file.writelines(b"x" * MOST_BYTES for _ in range(64))
        file.write(b"\nafter\n")
    log = opened(path)
    tracemalloc.start()
    try:
        lengths = [len(line) for line in log.read()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lengths == [MOST_BYTES, len("after")]
    assert log.cut == 1
    assert peak < 8 * MOST_BYTES
