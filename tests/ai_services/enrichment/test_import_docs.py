"""What docs/import.md shows does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ai_services.enrichment.reading.presets.built_in import BUILT_IN, load_preset
from ai_services.enrichment.validation.record import FIELDS
from shared.calls import CALL_STATUSES
from tests.ai_services.enrichment.calls_files import Folder, rows

PAGE = (Path(__file__).parents[3] / "docs" / "import.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_example_map_reads_the_example_file(folder: Folder) -> None:
    columns = folder.write("columns.toml", example("toml").encode())
    batch = folder.read("export.csv", example("csv").encode(), load_preset(str(columns)))
    assert batch.rejects == []
    assert batch.warnings == []
    first, second = rows(batch)
    assert (first["callid"], first["user_id"], first["duration_ms"]) == ("a-1", "team-7", 61_500)
    assert (first["call_status"], first["level_name"], first["hangup_by"]) == ("connected", "A", 2)
    assert str(first["started_at"]) == "2024-03-05 06:20:00+00:00"
    assert first["turns"] == '[{"role":"agent","at_ms":0,"text":"您好"}]'
    assert (second["call_status"], second["duration_ms"]) == ("no_answer", 0)


@pytest.mark.parametrize("name", [*FIELDS, *CALL_STATUSES, *BUILT_IN])
def test_every_field_status_and_preset_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGE
