"""The platform answers as it describes itself: schemathesis over the merged document."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.e2e.real_services import RealServices

CONFIG = Path(__file__).with_name("schemathesis.toml")


async def check(services: RealServices, folder: Path, *options: str) -> None:
    """All of its checks (it runs those that its configuration leaves on), the same in every run."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run",
        f"{services.url}/openapi.json", "--header", f"Authorization: Bearer {services.key}",
        "--generation-deterministic", "--no-shrink", "--continue-on-failure",
        "--suppress-health-check", "all", "--no-color", *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, said.decode()[-20_000:]


async def test_answers_are_those_that_are_described(whole: RealServices, tmp_path: Path) -> None:
    await check(whole, tmp_path, "--phases", "fuzzing", "--max-examples", "3")


@pytest.mark.slow
async def test_answers_are_those_that_are_described_at_every_border(
    whole: RealServices, tmp_path: Path
) -> None:
    phases = "examples,coverage,fuzzing"
    await check(whole, tmp_path, "--phases", phases, "--max-examples", "50")
