"""A service more is its own folder and one entry in the table of services, and nothing else.

The program is copied, `tests/e2e/echo` put among its services, the entry written into the table, and
all of it started: settings, roles, gateway, migrations, outbox and command line know the new one.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.e2e.platform import Platform, until

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "ai_services", "shared", "looma_cli")
# Machine code is for the sources as they were.
LEFT_OUT = ignore_patterns("__pycache__", "*.so", "compiled_sources.txt")
ENTRY = """\
    Service("echo", 8299, "ai_services.echo", frozenset({"relational", "cache"}), {"echo:read": "agent", "echo:write": "analyst"}, ("echoes",), (Projection("heard", ("echoes",)),)),
"""


def program_with_echo(folder: Path) -> Path:
    """A copy of the program, with one folder and one line more."""
    for package in PACKAGES:
        copytree(ROOT / package, folder / package, ignore=LEFT_OUT)
    copytree(Path(__file__).parent / "echo", folder / "ai_services/echo", ignore=LEFT_OUT)
    table = folder / "shared/services.py"
    text = table.read_text()
    end = ")\nPROCESSES"
    assert text.count(end) == 1
    table.write_text(text.replace(end, ENTRY + end))
    return folder


def looma(platform: Platform, *args: str) -> str:
    """Run the copy's command; what it printed."""
    done = subprocess.run(
        [*platform.command, *args], env=platform.env, cwd=platform.cwd, timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_new_service_is_a_folder_and_a_line(platform: Platform, tmp_path: Path) -> None:
    platform.env["PYTHONPATH"] = str(program_with_echo(tmp_path / "program"))
    platform.up()
    path, word = "/api/v1/echo", "hallo"
    with platform.client(looma(platform, "token", "--role", "analyst").strip()) as analyst:
        said = analyst.post(path, json={"word": word})
        assert said.status_code == 200, said.text

        def times() -> int:
            heard = analyst.get(f"{path}/{word}")
            assert heard.status_code == 200, heard.text
            return int(heard.json()["data"]["times"])

        # Its topic reached its projection, once.
        assert until(lambda: times() == 1, 10)
        described = analyst.get("/openapi.json").json()["paths"][f"{path}/{{word}}"]["get"]
        assert described["x-scope"] == "echo:read"

        with platform.client(looma(platform, "token", "--role", "agent").strip()) as agent:
            assert agent.post(path, json={"word": "no"}).status_code == 403
            assert agent.get(f"{path}/{word}").json()["data"]["times"] == 1

        looma(platform, "rebuild", "heard")
        assert times() == 1

    status = json.loads(looma(platform, "status", "--json"))
    assert status["ready"]
    assert "echo" in {process["name"] for process in status["processes"]}
    assert status["outbox"]["heard"] == {"waiting": 0, "lag_seconds": 0.0, "dead": 0}

    assert platform.interrupt() == 0
    assert platform.left_over() == []
