"""A virtual environment of a rival's own: what it needs is no dependency of ours."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from benchmarks.edge.host import NotMeasured

_INSTALL_S: Final = 120


def installed(environment: Path, pins: Sequence[str]) -> Path:
    """The Python of an environment that has these `name==version`; the first time they are installed.

    NotMeasured if that fails.
    """
    python = environment / "bin" / "python"
    if python.is_file() and _has(environment, pins):
        return python
    print(f"installing {' '.join(pins)} in {environment}", file=sys.stderr)
    try:
        for command in (
            [sys.executable, "-m", "venv", str(environment)],
            [str(python), "-m", "pip", "install", "--quiet", *pins],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_S)
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or b"").decode("utf-8", "replace").strip()
        reason = said.rpartition("\n")[2] or str(error)
        raise NotMeasured(
            f"{' '.join(pins)} can't be installed in {environment}: {reason}"
        ) from error
    return python


def _has(environment: Path, pins: Sequence[str]) -> bool:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = environment / "lib" / version / "site-packages"
    found = {f"{_plain(one.name)}=={one.version}" for one in distributions(path=[str(packages)])}
    return all(_plain(pin) in found for pin in pins)


def _plain(name: str) -> str:
    """One of the spellings that mean the same name."""
    return re.sub(r"[-_]+", "-", name).lower()
