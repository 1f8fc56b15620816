"""`looma` as a process of its own, quickly: forked from a server that has its code loaded.

A test that is about the start itself runs `Looma.command` instead.
"""

import json
import multiprocessing
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from looma_cli import exit_codes

SETTINGS = (
    "LOOMA_", "DATABASE_", "GRAPH_", "REDIS_", "VECTOR_", "SEARCH_", "ORGANISATION", "ADMIN_",
)  # fmt: skip
_CODE = (
    "ai_services.auth.service",
    "looma_cli.work.demo.generate",
    "ai_services.enrichment.importing",
    "ai_services.portrait.service",
    "ai_services.portrait.schemas",
    "looma_cli.main",
    "looma_cli.stores.open_stores",
    "looma_cli.up.start",
    "shared.data_access.cache.redis",
    "shared.data_access.outbox.relay",
    "shared.data_access.search.postgres",
    "shared.telemetry.logs",
)
_PATIENCE_S = 120


@dataclass(frozen=True)
class Done:
    """What a command ended with."""

    returncode: int
    stdout: str
    stderr: str


class Looma:
    """The command in a home of its own; `settings` are the only ones it gets."""

    command = (sys.executable, "-P", "-m", "looma_cli.main")

    def __init__(self, home: Path, cwd: Path, **settings: str) -> None:
        self.home = home
        self.cwd = cwd
        clean = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        self.env = {**clean, "LOOMA_HOME": str(home), **settings}

    def run(self, *args: str, stdin: str = "") -> Done:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, \
                tempfile.TemporaryFile() as err:  # fmt: skip
            given.write(stdin.encode())
            given.seek(0)
            streams = [multiprocessing.reduction.DupFd(f.fileno()) for f in (given, out, err)]
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(list(_CODE))
            process = context.Process(target=_main, args=(args, self.env, self.cwd, streams))
            process.start()
            process.join(_PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()
                raise AssertionError(f"looma {' '.join(args)} did not end")
            assert process.exitcode is not None
            return Done(process.exitcode, _text(out), _text(err))

    def __call__(self, *args: str, code: int = exit_codes.OK) -> str:
        """Run, expect the exit code, and return what went to stdout."""
        done = self.run(*args)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def json(self, *args: str, code: int = exit_codes.OK):
        return json.loads(self(*args, "--json", code=code))

    def refusal(self, *args: str, code: int = exit_codes.FAILED) -> str:
        """The one line on stderr with which a command ends."""
        done = self.run(*args)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("looma: ")]
        return line.removeprefix("looma: ")


def _text(file) -> str:
    file.seek(0)
    return file.read().decode()


def _main(args, env, cwd, streams) -> None:
    """In the forked process: become the command."""
    for number, stream in enumerate(streams):
        os.dup2(stream.detach(), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, m) for n, m in ((0, "r"), (1, "w"), (2, "w")))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["looma", *args]
    from looma_cli.main import main

    main()
