"""Whoever finds a port taken learns by whom."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.serving.port_holder import holder
from shared.serving.server import listen
from shared.serving.supervised import mark

LISTEN = """
import socket, sys
taken = socket.create_server(("127.0.0.1", 0))
print(taken.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_the_process_that_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert holder(port).startswith(f"process {os.getpid()} (")
        with pytest.raises(ConfigError, match=rf"^AUTH_PORT: .* taken by process {os.getpid()} \("):
            listen("127.0.0.1", port, "AUTH_PORT")
    assert holder(port) == "another process"  # nobody that is still there


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["-m", "a.launcher", mark(Path("/var/lib/looma")), "auth.log"], ": Looma AI on /var/lib/looma"),
        (["-m", "gateway", "--worker", "2"], " (python -m gateway)"),
        (["-m", "ai_services.auth"], " (python -m ai_services.auth)"),
    ],
)  # fmt: skip
def test_one_of_ours_is_named_by_what_it_is(words: list[str], shown: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert holder(port) == f"process {other.pid}{shown}"
        other.communicate()
