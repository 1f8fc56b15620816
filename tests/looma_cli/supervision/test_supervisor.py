"""The supervisor over real processes: start, crash, restart, order, death."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from looma_cli import exit_codes
from looma_cli.supervision.child import Program
from looma_cli.supervision.ports import Address, claim
from looma_cli.supervision.supervisor import Phase, Supervisor
from shared.errors import ConfigError, LoomaError
from shared.serving.process import EXIT_CONFIG
from shared.serving.server import handed_over
from tests.looma_cli import tiny_service


def any_free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Tiny:
    """Programs over the tiny service, and a supervisor that is stopped whatever happens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.lines: list[str] = []
        self.supervisor: Supervisor | None = None
        tiny_service.install(folder)

    def program(
        self, name: str = "tiny", address: Address | None = None, **behaviour: str
    ) -> Program:
        port = any_free() if address is None else address.port
        settings = {
            "PYTHONPATH": str(self.folder),
            "TINY_NAME": name,
            "TINY_PORT": str(port),
            "TINY_JOURNAL": str(self.journal),
            **behaviour,
        }
        return Program(name, "tiny", f"http://127.0.0.1:{port}", settings, address)

    def supervise(self, *groups: list[Program], patience_s: float = 5) -> Supervisor:
        self.supervisor = Supervisor(
            groups,
            self.folder / "logs",
            patience_s=patience_s,
            listener=lambda _status, line: self.lines.append(line) if line else None,
            backoff_s=0.05,
        )
        self.supervisor.start()
        self.supervisor.serve()
        return self.supervisor

    def journalled(self) -> list[str]:
        return self.journal.read_text().splitlines()


@pytest.fixture
async def tiny(tmp_path: Path):
    built = Tiny(tmp_path)
    yield built
    if built.supervisor is not None:
        built.supervisor.kill()
        await built.supervisor.stop()


async def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def gone(pid: int, seconds: float = 10) -> bool:
    def is_gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return await until(is_gone, seconds)


async def test_ready_means_that_all_answer(tiny: Tiny) -> None:
    supervisor = tiny.supervise([tiny.program("a")], [tiny.program("b")])
    await supervisor.ready(10)
    for status in supervisor.statuses.values():
        assert status.phase is Phase.READY
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{status.program.url}/ready")).status_code == 200


async def test_a_program_waits_for_the_word_to_serve(tiny: Tiny) -> None:
    tiny.supervisor = supervisor = Supervisor(
        [[tiny.program()]], tiny.folder / "logs", patience_s=1, listener=lambda *_: None
    )
    supervisor.start()
    await asyncio.sleep(0.5)
    assert not tiny.journal.exists()
    supervisor.serve()
    await supervisor.ready(10)
    assert tiny.journalled() == ["start tiny"]


async def test_groups_stop_in_order(tiny: Tiny) -> None:
    supervisor = tiny.supervise(
        [tiny.program("edge", TINY_SLOW_STOP="0.2")], [tiny.program("a"), tiny.program("b")]
    )
    await supervisor.ready(10)
    await supervisor.stop()
    stops = tiny.journalled()[3:]
    assert stops[0] == "stop edge"
    assert sorted(stops[1:]) == ["stop a", "stop b"]
    assert all(status.pid is None for status in supervisor.statuses.values())


async def test_a_crashed_program_is_started_again_with_a_line(tiny: Tiny) -> None:
    supervisor = tiny.supervise([tiny.program()])
    await supervisor.ready(10)
    status = supervisor.statuses["tiny"]
    first = status.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await until(lambda: status.pid not in (None, first) and status.phase is Phase.READY)
    assert status.restarts == 1
    assert tiny.lines == ["tiny ended (signal 9), starting it again"]


async def test_the_grandchildren_of_a_crashed_program_go_with_it(tiny: Tiny) -> None:
    note = tiny.folder / "grandchild"
    supervisor = tiny.supervise([tiny.program(TINY_CHILD=str(note))])
    await supervisor.ready(10)
    grandchild = int(note.read_text())
    os.kill(supervisor.statuses["tiny"].pid or 0, signal.SIGKILL)
    assert await gone(grandchild)


async def test_one_crash_at_the_start_is_survived(tiny: Tiny) -> None:
    once = str(tiny.folder / "once")
    supervisor = tiny.supervise([tiny.program(TINY_EXIT="0:7", TINY_ONCE=once)])
    await supervisor.ready(10)
    assert tiny.lines == ["tiny ended (code 7), starting it again"]


async def test_a_program_that_keeps_crashing_shows_its_last_words(tiny: Tiny) -> None:
    supervisor = tiny.supervise([tiny.program(TINY_EXIT="0:7")])
    with pytest.raises(LoomaError, match=r"(?s)keeps ending \(code 7\).*logs/tiny\.log.*SETTING"):
        await supervisor.ready(10)


async def test_a_wrong_setting_ends_the_start_with_its_line(tiny: Tiny) -> None:
    supervisor = tiny.supervise([tiny.program(TINY_EXIT=f"0:{EXIT_CONFIG}")])
    with pytest.raises(ConfigError, match=r"^SETTING: does not fit$"):
        await supervisor.ready(10)


def test_a_wrong_setting_has_one_exit_code_everywhere() -> None:
    assert exit_codes.USAGE == EXIT_CONFIG


async def test_what_is_not_ready_in_time_is_named_with_its_reason(tiny: Tiny) -> None:
    supervisor = tiny.supervise([tiny.program("fine")], [tiny.program("late", TINY_NOT_READY="1")])
    with pytest.raises(LoomaError, match=r"(?s)within 1\.5 s.*late: store: down") as caught:
        await supervisor.ready(1.5)
    assert "fine" not in caught.value.message


async def test_a_stubborn_program_is_killed_after_the_patience(tiny: Tiny) -> None:
    supervisor = tiny.supervise([tiny.program(TINY_STUBBORN="1")], patience_s=0.3)
    await supervisor.ready(10)
    pid = supervisor.statuses["tiny"].pid
    assert pid is not None
    await supervisor.stop()
    assert await gone(pid, 1)


SUPERVISOR = """
import asyncio, json, sys
from pathlib import Path
from looma_cli.supervision.child import Program
from looma_cli.supervision.supervisor import Supervisor

async def main():
    name, url, settings = json.loads(sys.argv[1])
    s = Supervisor([[Program(name, "tiny", url, settings)]], Path(sys.argv[2]), patience_s=1,
                   listener=lambda *a: None)
    s.start(); s.serve()
    await s.ready(10)
    print(s.statuses[name].pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("stubborn", [False, True], ids=["willing", "stubborn"])
async def test_children_die_with_a_killed_supervisor(tiny: Tiny, stubborn: bool) -> None:
    note = tiny.folder / "grandchild"
    program = tiny.program(TINY_CHILD=str(note), **({"TINY_STUBBORN": "1"} if stubborn else {}))
    arguments = [json.dumps([program.name, program.url, dict(program.settings)]), str(tiny.folder)]
    with subprocess.Popen(  # noqa: ASYNC220 - it must outlive nothing but this test
        [sys.executable, "-c", SUPERVISOR, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    assert await gone(pid)
    assert await gone(int(note.read_text()))
    if not stubborn:
        assert tiny.journalled()[-1] == "stop tiny"


def test_a_taken_port_names_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"GATEWAY_PORT: port {port} on 127\.0\.0\.1 is taken"
        ):
            claim(Address("127.0.0.1", port, "GATEWAY_PORT"))
        with claim(Address("127.0.0.1", port)) as other:
            assert other.getsockname()[1] != port
    with claim(Address("127.0.0.1", port)) as own:
        assert own.getsockname()[1] == port


def test_of_many_who_want_one_port_at_once_one_has_it_and_the_others_their_own() -> None:
    wanted, begin = Address("127.0.0.1", any_free()), threading.Barrier(24)

    def want(_number: int) -> socket.socket:
        begin.wait()
        return claim(wanted)

    with ThreadPoolExecutor(24) as threads:
        claimed = list(threads.map(want, range(24)))
    found = [sock.getsockname()[1] for sock in claimed]
    assert len(set(found)) == 24
    assert wanted.port in found
    assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in claimed)
    for sock in claimed:
        sock.close()


def test_a_port_with_connections_in_time_wait_is_had_again() -> None:
    address = Address("127.0.0.1", any_free())
    with claim(address) as sock:
        sock.setblocking(True)
        with socket.create_connection(("127.0.0.1", address.port)) as client:
            sock.accept()[0].close()  # who closes first waits
            assert client.recv(1) == b""
    with claim(address) as again:
        assert again.getsockname()[1] == address.port


async def test_two_platforms_that_want_the_same_ports_both_come_up(tiny: Tiny) -> None:
    wanted = [Address("127.0.0.1", any_free()) for _ in range(3)]
    both = [
        Supervisor(
            [[tiny.program(f"p{number}", address) for number, address in enumerate(wanted)]],
            tiny.folder / name, patience_s=5, listener=lambda *_: None,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    try:
        for supervisor in both:
            supervisor.start()
            supervisor.serve()
        urls = [status.url for supervisor in both for status in supervisor.statuses.values()]
        assert len(set(urls)) == 6  # told before anything serves
        assert urls[:3] == [address.url for address in wanted]
        for supervisor in both:
            await supervisor.ready(10)
    finally:
        for supervisor in both:
            await supervisor.stop()


async def test_a_program_comes_back_on_its_port_or_says_on_which(
    tiny: Tiny, tmp_path: Path
) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        supervisor = tiny.supervise(
            [tiny.program(address=Address("127.0.0.1", taken.getsockname()[1]))]
        )
        await supervisor.ready(10)
        status = supervisor.statuses["tiny"]
        first = status.url
        assert first != f"http://127.0.0.1:{taken.getsockname()[1]}"
    # Its own port counts from now on, not the one wanted first.
    for _ in range(2):
        assert status.pid is not None
        restarts = status.restarts
        os.kill(status.pid, signal.SIGKILL)
        assert await until(lambda before=restarts: status.restarts > before)
        assert await until(lambda: status.phase is Phase.READY)
        assert status.url == first


def test_two_who_need_one_port_are_told_apart(tiny: Tiny) -> None:
    need = Address("127.0.0.1", any_free(), "TINY_PORT")
    with claim(need):
        supervisor = Supervisor(
            [[tiny.program(address=need)]], tiny.folder, patience_s=1, listener=lambda *_: None
        )
        with pytest.raises(ConfigError, match=r"^TINY_PORT: port \d+ on 127.0.0.1 is taken by"):
            supervisor.start()


@pytest.mark.parametrize("kind", ["nothing", "a file", "a socket that does not listen"])
def test_what_is_handed_over_must_listen(kind: str, tmp_path: Path) -> None:
    with socket.socket() as sock, (tmp_path / "file").open("wb") as file:
        sock.bind(("127.0.0.1", 0))
        descriptor = {"nothing": 9999, "a file": os.dup(file.fileno())}.get(kind, sock.fileno())
        with pytest.raises(ConfigError, match=r"^LISTEN_FD: descriptor \d+ is no listening socket"):
            handed_over(descriptor)
        if kind == "a file":
            os.close(descriptor)


def test_a_grown_log_is_put_aside_and_no_line_lost(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    script = (
        "import sys\nfrom pathlib import Path\nfrom looma_cli.supervision.launch import rotate\n"
        "for number in range(100):\n"
        "    print('line', number, file=sys.stderr)\n"
        f"    rotate(Path({str(log)!r}), limit=500, keep=30)\n"
    )
    with log.open("ab") as file:
        subprocess.run([sys.executable, "-c", script], stdout=file, stderr=file, check=True)
    files = [log, *(tmp_path / f"a.log.{number}" for number in range(1, 31))]
    lines = [
        line for file in reversed(files) if file.exists() for line in file.read_text().splitlines()
    ]
    assert lines == [f"line {number}" for number in range(100)]
    assert log.stat().st_size < 1000
