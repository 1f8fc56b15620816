"""The secrets of the compose file, made by its own script."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from shared.config import SETTINGS
from tests.docker.compose import ROOT

# Keys of providers of language models are the operator's own: nobody can make them.
MADE = frozenset(
    one.name.lower()
    for one in SETTINGS
    if one.secret and not one.name.startswith(("LLM_", "SOURCE_"))
)


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", ROOT / "docker/make-secrets.sh"],
        env={"PATH": "/usr/bin:/bin", "LOOMA_SECRETS": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def environment_of(service: dict[str, Any], folder: Path) -> dict[str, str]:
    """The environment that compose passes, its secret files mapped to where they are here."""
    mounted = {
        f"/run/secrets/{one['source']}": folder / one["source"] for one in service["secrets"]
    }
    passed = {key: str(value) for key, value in service["environment"].items()}
    for key, value in passed.items():
        if key.endswith("_FILE"):
            assert value in mounted, f"{key} names {value}, which `secrets` doesn't list"
            passed[key] = str(mounted[value])
    return passed


def replace(folder: Path, name: str, value: str) -> None:
    (folder / name).unlink()
    (folder / name).write_text(value)
    (folder / name).chmod(0o400)
