"""Whole platforms as fixtures; whatever a test leaves behind is killed."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from shared.embedded.stores import Endpoints
from tests.databases import fresh_database
from tests.e2e.platform import Platform
from tests.e2e.real_services import RealServices, real_services
from tests.otlp import Collector, collector


class Platforms:
    """Makes platforms, each in a home of its own."""

    def __init__(self, folder: Path, cwd: Path) -> None:
        self._folder = folder
        self._cwd = cwd
        self._made: list[Platform] = []

    def new(self) -> Platform:
        name = f"home-{len(self._made)}"
        cwd = self._cwd / name
        cwd.mkdir()
        made = Platform(self._folder / name, cwd)
        self._made.append(made)
        return made

    def end(self) -> None:
        for one in self._made:
            one.run("down")
            if one.supervisor is not None and one.supervisor.poll() is None:
                one.supervisor.kill()
                one.supervisor.wait(10)
            for process in one.left_over():
                process.kill()


@contextmanager
def platforms_in(cwd: Path) -> Iterator[Platforms]:
    # Not in pytest's directory: every run of pytest closes that one to other users, and under
    # root PostgreSQL runs as one.
    with TemporaryDirectory(prefix="looma-test-", ignore_cleanup_errors=True) as folder:
        built = Platforms(Path(folder), cwd)
        try:
            yield built
        finally:
            built.end()


@pytest.fixture
def platforms(tmp_path: Path) -> Iterator[Platforms]:
    with platforms_in(tmp_path) as built:
        yield built


@pytest.fixture
def platform(platforms: Platforms) -> Platform:
    return platforms.new()


@dataclass(frozen=True)
class Watched:
    """A platform whose spans are collected, and its admin's credentials."""

    platform: Platform
    collector: Collector
    email: str
    password: str

    def client(self) -> httpx.Client:
        return self.platform.client(self.token())

    def token(self) -> str:
        given = {"email": self.email, "password": self.password}
        with self.platform.client() as client:
            answer = client.post("/api/v1/auth/login", json=given)
        return str(answer.json()["data"]["access_token"])


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with (
        collector() as collected,
        platforms_in(tmp_path_factory.mktemp("watched")) as platforms,
    ):
        platform = platforms.new()
        platform.env["OTLP_ENDPOINT"] = collected.url
        platform.up()
        found = re.search(r"sign in\s+(\S+)\s+password\s+(\S+)", platform.out.read_text())
        assert found is not None
        yield Watched(platform, collected, found[1], found[2])


@pytest.fixture(scope="session")
async def whole(
    stores: Endpoints, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RealServices]:
    """A gateway before its real services, shared by all tests that only ask."""
    async with (
        fresh_database(stores.database_url) as database_url,
        real_services(tmp_path_factory.mktemp("whole"), stores, database_url) as services,
    ):
        yield services
