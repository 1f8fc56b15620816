"""A models file that changes while the service runs."""

import asyncio
from pathlib import Path

import pytest

from ai_services.llm.models.reload import Models
from shared.config import Config
from shared.errors import ConfigError

FILE = """
currency = "USD"
[providers.a]
base_url = "http://127.0.0.1/v1"
[models.{name}]
deployments = [{{ provider = "a", model = "x" }}]
context = 10
max_output = 5
prices = [{{ since = 2026-01-01, input = 1, output = 1 }}]
"""


def names(models: Models) -> list[str]:
    return [model.name for model in models.catalogue.models]


def test_a_good_change_is_taken_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(FILE.format(name="m"))
    models = Models(Config.from_env({"LLM_MODELS": str(path)}))
    assert not models.look()
    path.write_text(FILE.format(name="n"))
    assert models.look()
    assert (names(models), models.problem) == (["n"], "")
    path.write_text(FILE.format(name="o") + "fallbacks = ['p']")
    assert not models.look()
    assert names(models) == ["n"]
    assert "'p' is not a model" in models.problem
    path.unlink()
    assert not models.look()
    assert "can't read" in models.problem
    path.write_text(FILE.format(name="n"))
    assert models.look()
    assert (names(models), models.problem) == (["n"], "")


def test_a_file_that_is_wrong_at_the_start_stops_the_process(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read"):
        Models(Config.from_env({"LLM_MODELS": str(tmp_path / "away")}))


async def test_a_change_is_found_by_watching(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(FILE.format(name="m"))
    models = Models(Config.from_env({"LLM_MODELS": str(path)}))
    watching = asyncio.create_task(models.watch_forever(every_s=0.01))
    path.write_text(FILE.format(name="n"))
    async with asyncio.timeout(5):
        while names(models) != ["n"]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    watching.cancel()


def test_without_a_file_there_is_nothing_to_look_at() -> None:
    models = Models(Config.from_env({}))
    assert not models.look()
    assert names(models) == []
