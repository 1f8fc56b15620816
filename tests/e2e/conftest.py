"""The whole platform as a fixture; whatever a test leaves behind is killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.platform import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    work = tmp_path / "work"
    work.mkdir()
    built = Platform(tmp_path / "home", work)
    yield built
    built.run("down")
    if built.supervisor is not None and built.supervisor.poll() is None:
        built.supervisor.kill()
        built.supervisor.wait(10)
    for process in built.left_over():
        process.kill()
