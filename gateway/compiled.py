"""Tells whether the hot path runs as machine code (setup.py), and refuses that of other sources."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from gateway import edge
from shared.errors import ConfigError

_RECORD: Final = "compiled_sources.txt"  # SHA-256 and path of each source, as it was compiled


def is_compiled() -> bool:
    """False if the sources are interpreted: the same, at about half the speed."""
    return not edge.__file__.endswith(".py")


def check_sources(folder: Path = Path(__file__).parent) -> None:
    """ConfigError if a source has changed since; `folder` is that of this package."""
    record = folder / _RECORD
    if not record.is_file():
        if any(folder.rglob("*.so")):
            raise ConfigError(
                "The gateway was compiled, but nothing tells from which sources. "
                "Run `make compile`, or `make uncompiled` to run the gateway from its sources."
            )
        return
    for line in record.read_text("utf-8").splitlines():
        digest, _, path = line.partition(" ")
        source = folder.parent / path
        if source.is_file() and hashlib.sha256(source.read_bytes()).hexdigest() != digest:
            raise ConfigError(
                f"{path} has changed since it was compiled, and the old one would run. "
                "Run `make compile`, or `make uncompiled` to run the gateway from its sources."
            )
