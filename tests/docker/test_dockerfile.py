"""docker/Dockerfile: hadolint's rules, and ours for every target."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.services import PROCESSES, Service
from tests.docker.compose import ROOT
from tests.docker.dockerfile import DOCKERFILE, Stage, stages

STAGES = stages()
HADOLINT = Path(sys.executable).with_name("hadolint")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HADOLINT, "--no-color", "--failure-threshold", "style", "-"],
        input=text, capture_output=True, text=True, check=False, env={}, cwd="/",
    )  # fmt: skip


def test_hadolint_has_nothing_to_say() -> None:
    done = lint(DOCKERFILE.read_text())
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("added", "rule"),
    [
        ("RUN cd /tmp && ls", "DL3003"),
        ("RUN pip install looma-ai", "DL3013"),
        ("CMD python -m gateway", "DL3025"),
    ],
)
def test_hadolint_finds_a_mistake(added: str, rule: str) -> None:
    done = lint(f"{DOCKERFILE.read_text()}\n{added}\n")
    assert done.returncode != 0
    assert rule in done.stdout


def test_the_base_is_one_and_pinned() -> None:
    outside = {stage.base for stage in STAGES.values() if stage.base not in STAGES}
    (base,) = outside
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base)
    assert f'base.name="docker.io/library/{base}"' in DOCKERFILE.read_text()


def target(process: Service) -> Stage:
    return STAGES[process.name]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_target_runs_its_process(process: Service) -> None:
    *_, command = json.loads(target(process).last("CMD"))
    assert command.endswith(f" exec python -m {process.module}")
    assert target(process).last("EXPOSE") == str(process.port)
    assert target(process).environment[process.port_setting] == str(process.port)
    assert f"os.environ['{process.port_setting}']" in target(process).last("HEALTHCHECK")


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_target_has_its_own_environment_and_no_more(process: Service) -> None:
    (copied,) = target(process).all("COPY")
    assert copied == f"--from={process.name}-environment /opt/looma /opt/looma"
    installed = re.findall(r"'(looma-ai\S*)'", STAGES[f"{process.name}-environment"].last("RUN"))
    assert installed == [f"looma-ai[{process.name}]"]
    assert process.name in PROJECT["optional-dependencies"]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_a_target_runs_as_a_user_without_rights(process: Service) -> None:
    own = target(process)
    assert own.base == "runtime"
    assert STAGES["runtime"].last("USER") == "10001:10001"
    assert own.all("USER") == own.all("RUN") == []


def test_wheels_are_made_once_for_every_process() -> None:
    extras = f"'.[{','.join(process.name for process in PROCESSES)}]'"
    installing, making = STAGES["wheels"].all("RUN")[-2:]
    assert extras in installing
    assert making.startswith("pip wheel")
    assert extras in making


@pytest.mark.parametrize("process", PROCESSES, ids=lambda one: one.name)
def test_an_image_says_what_it_is(process: Service) -> None:
    labels = STAGES["runtime"].last("LABEL") + " " + target(process).last("LABEL")
    for key in ("title", "description", "version", "revision", "licenses", "vendor", "base.name"):
        assert f"org.opencontainers.image.{key}=" in labels
    assert STAGES["runtime"].all("ARG")[0] == f"VERSION={PROJECT['version']}"


def test_the_build_sees_no_secrets() -> None:
    """Everything is left out that isn't named; what is named is in the repository."""
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*"
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    assert [name for name in let_in if not (ROOT / name).exists()] == []
    assert not {"secrets", ".env", ".git", "tests", "docker-compose.yml"} & set(let_in)
