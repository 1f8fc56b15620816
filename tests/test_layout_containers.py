"""Every process runs in a container: what a new service still lacks for that is named."""

import re
import tomllib

from shared.services import PROCESSES
from tests.sources import ROOT


def test_every_process_can_run_in_a_container() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    compose = (ROOT / "docker-compose.yml").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    there = {
        "a target in docker/Dockerfile": re.findall(
            r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE
        ),
        "a service in docker-compose.yml": re.findall(r"^  (\S+):$", compose, re.MULTILINE),
        "an extra in pyproject.toml": project["optional-dependencies"],
    }
    lacking = [
        f"{process.name}: {what}"
        for process in PROCESSES
        for what, names in there.items()
        if process.name not in names
    ]
    assert lacking == []
