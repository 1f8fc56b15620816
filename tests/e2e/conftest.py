"""The whole platform as a fixture; whatever a test leaves behind is killed."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.platform import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    # Not in pytest's directory: every run of pytest closes that one to other users, and under
    # root PostgreSQL runs as one.
    with TemporaryDirectory(prefix="looma-test-", ignore_cleanup_errors=True) as folder:
        built = Platform(Path(folder) / "home", tmp_path)
        yield built
        built.run("down")
        if built.supervisor is not None and built.supervisor.poll() is None:
            built.supervisor.kill()
            built.supervisor.wait(10)
        for process in built.left_over():
            process.kill()
