"""What the pods are told, taken by the processes themselves."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import create_gateway
from shared.config import Config
from shared.services import GATEWAY, PROCESSES, Service
from shared.store_urls import store_urls
from tests.docker.dockerfile import stages
from tests.docker.secret_folder import make_secrets, replace
from tests.kubernetes.laws import SECRETS, secret_paths
from tests.kubernetes.manifests import at, base, container_of, settings_of
from tests.sources import ROOT

BASE = base()
STORES = {"database_url", "redis_url", "graph_url", "search_url", "vector_url"}
EVERY_PROCESS = pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of docker/make-secrets.sh, with the mode that a pod mounts them with."""
    folder = tmp_path_factory.mktemp("kubernetes") / "secrets"
    made = make_secrets(folder)
    assert made.returncode == 0, made.stderr
    for path in folder.iterdir():
        path.chmod(0o440)
    return folder


def environment(process: Service, folder: Path) -> dict[str, str]:
    """What a container of it finds: its image's variables, the settings, its own; `folder` is mounted."""
    image = {**stages()["runtime"].environment, **stages()[process.name].environment}
    own = {
        one["name"]: one.get("value", "10.1.2.3") for one in container_of(BASE, process.name)["env"]
    }
    mounted = secret_paths(BASE, process.name)
    files = {
        name: str(folder / mounted[path]) for name, path in own.items() if name.endswith("_FILE")
    }
    return {**image, **settings_of(BASE), **own, **files}


@EVERY_PROCESS
def test_a_process_is_given_all_that_it_needs(process: Service, secrets: Path) -> None:
    told = environment(process, secrets)
    config = Config.from_env(told)
    urls = store_urls(config, process.stores)
    given = {
        "relational": urls.database,
        "graph": urls.graph,
        "vectors": urls.vector,
        "search": urls.search,
        "cache": urls.redis,
    }
    assert [store for store in process.stores if not given[store]] == []
    assert config.internal_token_secret is not None
    assert config.port_of(process.name) == process.port
    assert (config.bind_host, config.advertise_host) == ("0.0.0.0", "10.1.2.3")
    sources = [path.read_text() for path in (ROOT / process.module.replace(".", "/")).rglob("*.py")]
    if any("data_key(" in source for source in sources):
        assert config.data_key is not None
    if any("admin_password" in source for source in sources):
        assert config.admin_password is not None


@EVERY_PROCESS
def test_a_process_is_given_no_secret_but_its_own(process: Service) -> None:
    """It is refused nothing that it needs (above); a store that it doesn't open is not told to it."""
    opened = {
        "relational": "database_url",
        "cache": "redis_url",
        "graph": "graph_url",
        "search": "search_url",
        "vectors": "vector_url",
    }
    keys = set(secret_paths(BASE, process.name).values())
    assert keys & STORES == {opened[store] for store in process.stores}
    assert keys - STORES <= {name.lower() for name in SECRETS}


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word: a store that hangs."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(1024)
        yield sock.getsockname()[1]


def process_of(process: Service, config: Config) -> Any:
    if process is GATEWAY:
        return create_gateway(config)
    return importlib.import_module(f"{process.module}.app").create_service(config)


@pytest.mark.slow
async def test_a_pod_lives_while_its_stores_hang(
    secrets: Path, silent: int, tmp_path: Path
) -> None:
    """Its probes, on processes none of whose stores answers: alive, and not ready."""
    hanging = tmp_path / "secrets"
    shutil.copytree(secrets, hanging)
    for name in STORES:
        scheme = (hanging / name).read_text().partition("://")[0]
        replace(hanging, name, f"{scheme}://someone:0123456789abcdef@127.0.0.1:{silent}/0")

    async def probed(process: Service) -> dict[str, int]:
        config = Config.from_env(
            {
                **environment(process, hanging),
                "DRAIN_DELAY_SECONDS": "0",
                "SHUTDOWN_SECONDS": "1",
            }
        )
        async with AsyncExitStack() as stack:
            serving = process_of(process, config).running("127.0.0.1", 0)
            url = await asyncio.wait_for(stack.enter_async_context(serving), 60)
            client = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
            container = container_of(BASE, process.name)
            return {
                probe: (
                    await client.get(
                        at(container, f"{probe}.httpGet.path"),
                        timeout=at(container, f"{probe}.timeoutSeconds"),
                    )
                ).status_code
                for probe in ("startupProbe", "livenessProbe", "readinessProbe")
            }

    answers = await asyncio.gather(*(probed(process) for process in PROCESSES))
    assert dict(zip((one.name for one in PROCESSES), answers, strict=True)) == {
        one.name: {"startupProbe": 200, "livenessProbe": 200, "readinessProbe": 503}
        for one in PROCESSES
    }
