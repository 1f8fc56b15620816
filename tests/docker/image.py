"""Images without an engine: what the Dockerfile runs is run here, in folders in place of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.services import Service
from tests.conftest import skip_unless_ci
from tests.docker.compose import ROOT
from tests.docker.dockerfile import stages

_STAGES = stages()
_HEALTHY_WITHIN_S = 30.0
_NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|Name or service not known|Network is unreachable"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where /build, /wheels and /opt/looma of the Dockerfile are on this machine."""

    folder: Path

    def here(self, text: str, process: str = "") -> str:
        places = {
            "/wheels": self.folder / "wheels",
            "/opt/looma": self.folder / process / "opt",
            "/var/lib/looma": self.folder / process / "home",
        }
        return re.sub("|".join(places), lambda found: str(places[found[0]]), text)

    def copy_sources(self) -> Path:
        """What `COPY . .` brings in: the names that .dockerignore lets through."""
        rules = (ROOT / ".dockerignore").read_text().splitlines()
        build = self.folder / "build"
        build.mkdir()
        for name in (rule[1:] for rule in rules if rule.startswith("!")):
            source = ROOT / name
            if source.is_dir():
                left_out = shutil.ignore_patterns(
                    "__pycache__", "*.pyc", "*.so", "compiled_sources.txt"
                )
                shutil.copytree(source, build / name, ignore=left_out)
            else:
                shutil.copy(source, build / name)
        return build

    def run(self, command: str, process: str = "", python: Path | None = None) -> None:
        """A RUN line of the Dockerfile; `python` is the folder of the interpreter that it finds."""
        done = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-ec", self.here(command, process)],
            cwd=self.folder / "build",
            env={
                **os.environ,
                "PATH": f"{python or Path(sys.executable).parent}:{os.environ['PATH']}",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PIP_ROOT_USER_ACTION": "ignore",
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode and _NO_NETWORK.search(done.stdout + done.stderr):
            skip_unless_ci("the package index can't be reached")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    def install(self, process: Service, python: Path | None = None) -> Path:
        """The environment of an image, by the Dockerfile's own line; returns its folder."""
        self.run(_STAGES[f"{process.name}-environment"].last("RUN"), process.name, python)
        return Path(self.here("/opt/looma", process.name))

    def environment(self, process: Service) -> dict[str, str]:
        """The variables that the image sets; its port is one that is free here."""
        image = {**_STAGES["runtime"].environment, **_STAGES[process.name].environment}
        told = {name: self.here(value, process.name) for name, value in image.items()}
        told["PATH"] = told["PATH"].replace("$PATH", "/usr/bin:/bin")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            told[process.port_setting] = str(sock.getsockname()[1])
        return told

    @asynccontextmanager
    async def running(
        self, process: Service, passed: Mapping[str, str]
    ) -> AsyncIterator[dict[str, str]]:
        """Its command, exactly as the image has it, until its health check says that it is well.

        Yields the environment that it runs in; afterwards it has to stop in peace.
        """
        told = {**self.environment(process), **passed}
        with (self.folder / process.name / "log").open("wb+") as log:
            running = await asyncio.create_subprocess_exec(
                *json.loads(_STAGES[process.name].last("CMD")),
                env=told, cwd=self.here("/opt/looma", process.name), stdout=log, stderr=log,
            )  # fmt: skip
            try:
                await self._healthy(process, told, running, log)
                yield told
                running.terminate()
                assert await asyncio.wait_for(running.wait(), 20) == 0
            finally:
                if running.returncode is None:
                    running.kill()
                    await running.wait()

    async def _healthy(
        self,
        process: Service,
        told: Mapping[str, str],
        running: asyncio.subprocess.Process,
        log: Any,
    ) -> None:
        check = json.loads(_STAGES[process.name].last("HEALTHCHECK").partition(" CMD ")[2])
        check[0] = str(Path(self.here("/opt/looma", process.name)) / "bin" / check[0])
        until = time.monotonic() + _HEALTHY_WITHIN_S
        while True:
            asked = await asyncio.create_subprocess_exec(
                *check, env=told, stderr=asyncio.subprocess.DEVNULL
            )
            if await asked.wait() == 0:
                return
            if running.returncode is not None or time.monotonic() > until:
                log.seek(0)
                raise AssertionError(f"{process.name} is not healthy:\n{log.read().decode()}")
            await asyncio.sleep(0.2)
