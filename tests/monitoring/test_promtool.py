"""Prometheus' own word: promtool reads the configuration and the rules, and runs their scenarios."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.monitoring.prometheus_files import FOLDER, RULES, SCENARIOS

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool here: apt-get install prometheus, or put it into PATH"
)


def promtool(*words: str | Path) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_one() -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")


@pytest.mark.parametrize("path", RULES, ids=[path.stem for path in RULES])
def test_rules_are_rules(path: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", path)


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_alerts_fire_where_they_should_and_nowhere_else(path: Path) -> None:
    promtool("test", "rules", path)
