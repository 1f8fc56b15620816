"""Dependencies say what they are for, and the lock covers them."""

import re
import tomllib

import pytest

from tests.sources import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]


def normal(requirement: str) -> str:
    name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies() -> list[str]:
    extras = PROJECT["optional-dependencies"].values()
    found = [*PROJECT["dependencies"], *(item for extra in extras for item in extra)]
    return [item for item in found if normal(item) != PROJECT["name"]]


@pytest.mark.parametrize("requirement", dependencies())
def test_a_dependency_says_what_it_is_for(requirement: str) -> None:
    lines = [line for line in PYPROJECT.splitlines() if f'"{requirement}"' in line]
    assert lines
    assert all(re.search(r"#\s*\w", line.rpartition('"')[2]) for line in lines)


def test_the_lock_covers_every_dependency_but_torch_and_ray() -> None:
    lock = (ROOT / "requirements.txt").read_text()
    pinned = set(re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE))
    wanted = {normal(item) for item in dependencies()}
    assert {normal(item) for item in pinned} >= wanted - {"torch", "ray"}
    # Where the lock was compiled is nobody's business, and an absolute path works nowhere else.
    assert [
        line for line in lock.splitlines() if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)
    ] == []
    assert "://" not in lock
    assert "torch==" in PYPROJECT
