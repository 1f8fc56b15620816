"""`looma imports`, and files that are only tried out."""

from __future__ import annotations

import json
from pathlib import Path

from looma_cli import exit_codes
from tests.ai_services.enrichment.records import record, write_jsonl
from tests.looma_cli.looma import Looma


def test_an_import_is_listed_and_taken_back(looma: Looma, tmp_path: Path) -> None:
    assert looma.json("imports") == []
    first = write_jsonl(tmp_path / "first.jsonl", [record("a"), record("b"), record("c")])
    second = write_jsonl(tmp_path / "second.jsonl", [record("b", rounds=7), record("d")])
    done = looma.json("import", str(first), "--no-analyze")
    looma("import", str(second), "--no-analyze")
    assert [one["source"] for one in looma.json("imports")] == ["second.jsonl", "first.jsonl"]
    back = looma.json("imports", "take-back", done["import_id"])
    assert back == {
        "import_id": done["import_id"], "deleted": 2, "kept_changed": 1, "kept_updated": 0,
    }  # fmt: skip
    assert "taken back" in looma("imports")
    again = looma.json("import", str(first), "--no-analyze")
    assert (again["inserted"], again["updated"]) == (2, 1)
    assert "were changed since" in looma.run("imports", "take-back", done["import_id"]).stderr


def test_what_is_not_there_is_not_taken_back(looma: Looma) -> None:
    unknown = "00000000-0000-0000-0000-000000000001"
    assert "no such import" in looma.refusal("imports", "take-back", unknown)
    assert looma.run("imports", "take-back", "x").returncode == exit_codes.USAGE


def test_a_file_is_tried_out_without_a_store(tmp_path: Path) -> None:
    bare = Looma(tmp_path / "home", tmp_path)
    wrong = record("wrong", duration_ms="long")
    masked = record("b", phone="138****8000")
    path = write_jsonl(tmp_path / "calls.jsonl", [record("a"), wrong, record("a"), masked])
    found = bare.json("import", str(path), "--dry-run")
    counts = {name: found[name] for name in ("rows", "good", "duplicates", "rejected")}
    assert counts == {"rows": 4, "good": 2, "duplicates": 1, "rejected": 1}
    assert found["noted"] == {"phone": 1}
    (reject,) = found["rejects"]
    assert (reject["line"], reject["field"]) == (2, "duration_ms")
    assert "13812348000" not in json.dumps(found)
    assert "duration_ms" in bare("import", str(path), "--dry-run")
    partly = bare.run("import", str(path), "--dry-run", "--fail-on-rejects")
    assert partly.returncode == exit_codes.PARTLY
    assert not bare.home.exists()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_wrong_rows_only_fails_its_trial(tmp_path: Path) -> None:
    bare = Looma(tmp_path / "home", tmp_path)
    path = write_jsonl(tmp_path / "calls.jsonl", [record("a", duration_ms="long")])
    assert bare.run("import", str(path), "--dry-run").returncode == exit_codes.FAILED
    (tmp_path / "empty.csv").write_text("")
    assert "is empty" in bare.refusal("import", str(tmp_path / "empty.csv"), "--dry-run")
