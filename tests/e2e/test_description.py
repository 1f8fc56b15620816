"""The platform answers as it describes itself: schemathesis over the merged document."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.real_services import RealServices

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")


async def own_ids(services: RealServices) -> list[str]:
    """The ids of the API key that the requests carry, and of its owner."""
    async with services.client() as client:
        keys = (await client.get("/api/v1/keys")).json()["data"]["items"]
    [own] = [key for key in keys if services.key.startswith(key["prefix"])]
    return [own["key_id"], own["owner_id"]]


async def check(services: RealServices, folder: Path, *options: str) -> None:
    """All of its checks: it runs those that its configuration leaves on."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run",
        f"{services.url}/openapi.json", "--header", f"Authorization: Bearer {services.key}",
        "--no-shrink", "--continue-on-failure", "--suppress-health-check", "all", "--no-color",
        *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": str(HOOKS),
            "KEPT_IDS": ",".join(await own_ids(services)),
        },
    )  # fmt: skip
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = said.decode()
    assert process.returncode == 0, text[-20_000:]
    async with services.client() as client:  # what it was refused, it wasn't for want of a key
        assert (await client.get("/api/v1/auth/me")).status_code == 200


async def test_answers_are_those_that_are_described(whole: RealServices, tmp_path: Path) -> None:
    options = "--generation-deterministic", "--phases", "fuzzing", "--max-examples", "3"
    await check(whole, tmp_path, *options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
async def test_answers_are_those_that_are_described_at_every_border(
    whole: RealServices, tmp_path: Path, seed: int
) -> None:
    phases = "examples,coverage,fuzzing"
    options = "--seed", str(seed), "--phases", phases, "--max-examples", "50"
    await check(whole, tmp_path, *options)
