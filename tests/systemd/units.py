"""systemd/: the units, as systemd puts them together with their drop-ins."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from shared.services import GATEWAY, Service
from tests.sources import ROOT

FOLDER = ROOT / "systemd"
TEMPLATE = FOLDER / "looma-service@.service"
WHOLE = FOLDER / "looma.service"

Unit = dict[str, list[str]]  # 'Service.ExecStart' → its values, in their order


def parsed(text: str) -> Unit:
    unit: Unit = defaultdict(list)
    section = ""
    for line in text.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif line and not line.startswith("#"):
            key, separator, value = line.partition("=")
            assert separator, f"not a line of a unit: {line!r}"
            unit[f"{section}.{key}"].append(value)
    return dict(unit)


def files_of(process: Service) -> list[Path]:
    """The unit that runs a process, and what is added to it."""
    if process is GATEWAY:
        return [FOLDER / "looma-gateway.service"]
    return [TEMPLATE, *sorted((FOLDER / f"looma-service@{process.name}.service.d").glob("*.conf"))]


def unit_of(process: Service) -> Unit:
    text = "\n".join(path.read_text() for path in files_of(process))
    return parsed(text.replace("%i", process.name))


def environment(unit: Unit) -> dict[str, str]:
    words = (word for line in unit.get("Service.Environment", []) for word in line.split())
    pairs = (word.partition("=") for word in words)
    return {name: value for name, _, value in pairs}


def credentials(unit: Unit) -> dict[str, str]:
    """What the process finds in its folder of credentials (%d), and where systemd has it from."""
    pairs = (line.partition(":") for line in unit.get("Service.LoadCredential", []))
    return {name: path for name, _, path in pairs}
