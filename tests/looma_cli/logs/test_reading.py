"""The logs of several processes as one."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from looma_cli.logs.query import Query
from looma_cli.logs.reading import Logs, newest
from shared.errors import ConfigError, LoomaError


def line(second: int, event: str, **more: object) -> str:
    timestamp = f"2026-01-31T09:30:{second:02}Z"
    return json.dumps({"timestamp": timestamp, "level": "info", "event": event, **more}) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.log.1").write_text(line(1, "a") + line(4, "d"))
    (tmp_path / "gateway.log").write_text(line(6, "f"))
    (tmp_path / "auth.log").write_text(line(2, "b") + "not json\n" + line(5, "e"))
    (tmp_path / "auth-2.log").write_text(line(3, "c"))
    return tmp_path


@pytest.fixture
def opened() -> Iterator[Callable[..., Logs]]:
    with ExitStack() as stack:
        yield lambda *args: stack.enter_context(closing(Logs(*args, Query())))


def events(found: Logs) -> str:
    return "".join(str(one.fields.get("event", "?")) for one in found)


def test_they_are_merged_by_time_over_older_files(
    folder: Path, opened: Callable[..., Logs]
) -> None:
    found = opened(folder, ())
    assert events(found) == "ab?cdef"
    assert found.unknown == {"auth": 1}
    assert found.processes == ("auth", "auth-2", "gateway")


@pytest.mark.parametrize(
    ("services", "seen"),
    [(["auth"], "b?ce"), (["auth-2"], "c"), (["gateway"], "adf"), (["auth-2", "gateway"], "acdf")],
)
def test_a_service_stands_for_its_replicas(
    folder: Path, services: list[str], seen: str, opened: Callable[..., Logs]
) -> None:
    assert events(opened(folder, services)) == seen


def test_the_last_lines_are_the_newest_of_all(folder: Path, opened: Callable[..., Logs]) -> None:
    found = newest(iter(opened(folder, ())), 2)
    assert [one.fields["event"] for one in found] == ["e", "f"]


def test_a_name_without_a_log_is_refused_with_those_there_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--service: .*'au'.*auth, auth-2, gateway"):
        Logs(folder, ["auth", "au"], Query())


def test_no_logs_at_all_are_told(tmp_path: Path) -> None:
    with pytest.raises(LoomaError, match=r"no logs in .*nowhere.*looma up"):
        Logs(tmp_path / "nowhere", (), Query())


def test_following_goes_on_with_what_is_added_also_by_new_processes(
    folder: Path, opened: Callable[..., Logs]
) -> None:
    following = opened(folder, ()).follow(1)
    assert next(following).fields["event"] == "f"

    def write() -> None:
        time.sleep(0.3)
        (folder / "auth-3.log").write_text(line(9, "h"))
        with (folder / "gateway.log").open("a") as file:
            file.write(line(8, "g"))

    writer = threading.Thread(target=write)
    writer.start()
    assert {next(following).fields["event"] for _ in range(2)} == {"g", "h"}
    writer.join()
