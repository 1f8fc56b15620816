"""The compose file as Docker Compose itself reads it: defaults filled in, anchors resolved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
SMALL = ROOT / "docker-compose.override.example.yml"
PROGRAM = Path(sys.executable).with_name("docker-compose")


def compose(
    *files: Path, arguments: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`docker-compose config`: needs no engine, and reads nothing of this machine's environment."""
    named = [word for file in files for word in ("--file", str(file))]
    return subprocess.run(
        [str(PROGRAM), *named, "--env-file", os.devnull, "--profile", "*", "config", *arguments],
        capture_output=True, text=True, check=False, timeout=30,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", **(environment or {})},
    )  # fmt: skip


def model(*files: Path, **environment: str) -> dict[str, Any]:
    done = compose(
        *files, arguments=("--format", "json", "--no-path-resolution"), environment=environment
    )
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded
