"""`looma import --suggest` as people and scripts use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_services.enrichment.reading.presets.preset import parse_preset
from looma_cli import exit_codes
from tests.ai_services.enrichment.reading.presets.samples import SAMPLES
from tests.ai_services.enrichment.reading.tables.workbooks import xlsx
from tests.ai_services.enrichment.suggesting.samples import UNKNOWN
from tests.ai_services.enrichment.suggesting.test_sheets import NAMES, ROWS
from tests.looma_cli.looma import Looma

ROBOT = next(one for one in UNKNOWN if one.name == "robot.csv")


@pytest.fixture
def looma(tmp_path: Path) -> Looma:
    """Without a store: none is needed."""
    (tmp_path / ROBOT.name).write_bytes(ROBOT.data)
    return Looma(tmp_path / "home", tmp_path)


def test_the_map_alone_is_the_output(looma: Looma) -> None:
    done = looma.run("import", ROBOT.name, "--suggest")
    assert done.returncode == exit_codes.OK
    columns = parse_preset("columns.toml", done.stdout)
    assert columns.columns["callid"] == "通话ID"
    assert "5 of the first 5 rows come in" in done.stderr


def test_scripts_get_a_document(looma: Looma) -> None:
    done = looma.run("import", ROBOT.name, "--suggest", "--json", "--timezone", "Europe/Berlin")
    found = json.loads(done.stdout)
    assert (found["rows"], found["calls"], found["missing"]) == (5, 5, [])
    assert 'timezone = "Europe/Berlin"' in found["column_map"]


def test_a_known_export_is_named(looma: Looma, tmp_path: Path) -> None:
    sample = SAMPLES["3cx"]
    (tmp_path / sample.name).write_text(sample.text)
    done = looma.run("import", sample.name, "--suggest")
    assert done.returncode == exit_codes.OK
    assert "--preset 3cx" in done.stderr


def test_a_workbook_is_looked_at_too(looma: Looma, tmp_path: Path) -> None:
    sheets = [("三月", [NAMES, *ROWS]), ("四月", [NAMES, *ROWS[:2]])]
    (tmp_path / "calls.xlsx").write_bytes(xlsx(*sheets))
    done = looma.run("import", "calls.xlsx", "--suggest", "--sheet", "四月")
    assert done.returncode == exit_codes.OK
    assert parse_preset("columns.toml", done.stdout).layout.sheet == "四月"
    assert "2 of the first 2 rows come in" in done.stderr


def test_a_map_that_can_not_be_used_is_no_success(looma: Looma, tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("agent,notes\nann,hello\nbob,bye\n")
    done = looma.run("import", "notes.csv", "--suggest")
    assert done.returncode == exit_codes.PARTLY
    assert "No column looks like" in done.stderr


def test_what_is_no_file_is_one_line(looma: Looma) -> None:
    done = looma.run("import", "nowhere.csv", "--suggest")
    assert done.returncode == exit_codes.FAILED
    assert "nowhere.csv" in done.stderr or "can't be opened" in done.stderr
    assert "Traceback" not in done.stderr
