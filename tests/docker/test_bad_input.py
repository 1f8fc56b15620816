"""What is wrong with what compose is given: our processes refuse it, and docker/check.sh tells before."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.config import Config
from shared.errors import ConfigError
from shared.services import PROCESSES, Service
from tests.docker.compose import COMPOSE, PROGRAM, ROOT, model
from tests.docker.secret_folder import MADE, environment_of, make_secrets

MODEL = model(COMPOSE)
CHECK = ROOT / "docker" / "check.sh"
SECRETS = MADE
Spoil = Callable[[Path], object]


def rewritten(text: str) -> Spoil:
    def spoil(path: Path) -> None:
        path.chmod(0o600)
        path.write_text(text)

    return spoil


BAD: dict[
    str, tuple[Spoil, str, str]
] = {  # what was done: what a process says, what the check says
    "missing": (
        Path.unlink,
        "can't be read: No such file",
        "is missing. Run docker/make-secrets.sh",
    ),
    "empty": (rewritten(""), "is empty", "is empty. Run docker/make-secrets.sh"),
    "placeholder": (rewritten("change-me\n"), "still holds a placeholder", "holds a placeholder"),
    "open to all": (lambda path: path.chmod(0o444), "is open to all users", "chmod 400"),
}
EVERY_WAY = pytest.mark.parametrize("way", BAD)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docker/make-secrets.sh makes."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    done = make_secrets(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def secrets(made: Path, tmp_path: Path) -> Path:
    """A copy of it that belongs to the processes, to be spoilt."""
    folder = tmp_path / "secrets"
    shutil.copytree(made, folder)
    for path in folder.iterdir():
        os.chown(path, made.joinpath(path.name).stat().st_uid, -1)
    return folder


@EVERY_WAY
@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_process_refuses_a_bad_secret_and_names_it(
    process: Service, way: str, secrets: Path
) -> None:
    """Each of those that compose gives it, one at a time."""
    told = environment_of(MODEL["services"][process.name], secrets)
    files = {name: Path(path) for name, path in told.items() if name.endswith("_FILE")}
    assert files
    Config.from_env(told)
    spoil, problem, _ = BAD[way]
    for name, path in files.items():
        before, mode = path.read_text(), path.stat().st_mode
        spoil(path)
        with pytest.raises(ConfigError, match=re.escape(f"{name}: {path} {problem}")):
            Config.from_env(told)
        path.unlink(missing_ok=True)
        path.write_text(before)
        path.chmod(mode)


def check(secrets: Path, *words: str, **variables: str) -> tuple[int, list[str]]:
    """Exit status of docker/check.sh, and what it says."""
    owner = (secrets / "data_key").stat().st_uid if (secrets / "data_key").exists() else 10001
    done = subprocess.run(
        ["sh", CHECK, *words],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "COMPOSE": f"{PROGRAM} --file {COMPOSE} --env-file {os.devnull}",
            "LOOMA_SECRETS": str(secrets),
            "LOOMA_UID": str(owner),
            **variables,
        },
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stderr.splitlines()


def test_nothing_is_said_of_what_is_right(secrets: Path) -> None:
    assert check(secrets) == (0, [])
    assert check(secrets, "--profile", "*") == (0, [])


@EVERY_WAY
def test_a_bad_secret_is_told_before_anything_starts(way: str, secrets: Path) -> None:
    spoil, _, told = BAD[way]
    spoil(secrets / "redis_url")
    status, said = check(secrets)
    assert status == 1
    (line,) = said
    assert line.startswith(f"secret redis_url: {secrets}/redis_url ")
    assert told in line


@pytest.mark.parametrize("way", ["missing", "empty", "placeholder"])
def test_a_bad_secret_of_a_server_is_told(way: str, secrets: Path) -> None:
    """The server would start with it: with no password, or one that everybody knows."""
    BAD[way][0](secrets / "redis_password")
    status, said = check(secrets)
    assert (status, len(said)) == (1, 1)
    assert said[0].startswith("secret redis_password: ")


def test_a_placeholder_in_a_url_is_told(secrets: Path) -> None:
    rewritten("postgresql://looma:changeme@db:5432/looma")(secrets / "database_url")
    status, (line,) = check(secrets)
    assert (status, "database_url still holds a placeholder" in line) == (1, True)


def test_a_secret_of_a_profile_is_looked_at_with_the_profile(secrets: Path) -> None:
    (secrets / "mysql_password").unlink()
    assert check(secrets) == (0, [])
    status, (line,) = check(secrets, "--profile", "sources")
    assert (status, "mysql_password" in line) == (1, True)


def test_a_folder_that_others_may_enter_is_told(secrets: Path) -> None:
    secrets.chmod(0o755)
    assert check(secrets) == (1, [f"secrets: others may enter {secrets}. chmod 700 {secrets}"])


def test_secrets_of_another_user_are_told(secrets: Path) -> None:
    status, said = check(secrets, LOOMA_UID="4711")
    assert (status, len(said)) == (1, len(SECRETS))
    assert "belongs to user" in said[0]
    assert "and the processes run as 4711" in said[0]


def test_the_check_knows_which_secrets_are_for_our_processes() -> None:
    (ours,) = re.findall(r'^ours="([^"]+)"', CHECK.read_text(), re.MULTILINE)
    assert set(ours.split()) == SECRETS


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"GATEWAY_PUBLISHED": "3000"}, True),
        ({"GATEWAY_PUBLISHED": "3000", "GATEWAY_ADDRESS": "0.0.0.0"}, True),
        ({"GRAFANA_PUBLISHED": "8206"}, True),
        ({"GATEWAY_PUBLISHED": "3000", "GATEWAY_ADDRESS": "192.0.2.7"}, False),
        ({"GATEWAY_PUBLISHED": "3001"}, False),
    ],
)
def test_a_port_that_is_published_twice_is_told(
    variables: dict[str, str], said: bool, secrets: Path
) -> None:
    """Compose takes it, and the engine starts whichever of them comes first."""
    port = variables.get("GATEWAY_PUBLISHED") or variables["GRAFANA_PUBLISHED"]
    told = (
        f"port {port}: published by gateway and by grafana. "
        "Set GATEWAY_PUBLISHED or GRAFANA_PUBLISHED in .env to another."
    )
    assert check(secrets, **variables) == (int(said), [told] if said else [])


def test_what_compose_refuses_is_said_by_compose(secrets: Path) -> None:
    status, said = check(secrets, GATEWAY_PUBLISHED="eight")
    assert status != 0
    assert any("eight" in line for line in said)
