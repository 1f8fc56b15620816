"""Workers write to the log that is there, not to the one that was put aside."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKER = """
import asyncio, sys
from pathlib import Path
from gateway.workers.log_file import keep_to

async def main():
    keeping = asyncio.create_task(keep_to(Path(sys.argv[1]), 0.02))
    for number in range(100):
        print("line", number, file=sys.stderr, flush=True)
        await asyncio.sleep(0.02)
    print("keeping" if not keeping.done() else "left alone", file=sys.stderr, flush=True)

asyncio.run(main())
"""


def test_a_worker_follows_its_log_over_files_put_aside(tmp_path: Path) -> None:
    log, aside = tmp_path / "gateway.log", tmp_path / "gateway.log.1"
    with log.open("ab") as file:
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(log)], stderr=file)
    while "line 20\n" not in log.read_text():
        time.sleep(0.01)
    log.rename(aside)
    assert worker.wait(30) == 0
    before, after = aside.read_text().splitlines(), log.read_text().splitlines()
    assert [*before, *after] == [*(f"line {number}" for number in range(100)), "keeping"]
    assert len(after) > 1


@pytest.mark.parametrize("at", ["gateway.log", "logs/gateway.log"])
def test_another_standard_error_is_left_alone(tmp_path: Path, at: str) -> None:
    (tmp_path / "gateway.log").touch()
    log = tmp_path / at  # a folder that no log was ever kept in isn't made
    done = subprocess.run(
        [sys.executable, "-c", WORKER.replace("100", "3"), str(log)],
        capture_output=True,
        check=True,
    )
    assert done.stderr.decode().splitlines()[-1] == "left alone"
    assert (tmp_path / "gateway.log").read_text() == ""
    assert log.exists() == (at == "gateway.log")
