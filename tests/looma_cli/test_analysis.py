"""`looma analysis` as people use it, without a model."""

from __future__ import annotations

import json
from pathlib import Path

from looma_cli import exit_codes
from tests.ai_services.enrichment.records import TURNS, record, write_jsonl
from tests.looma_cli.looma import Looma


def test_what_waits_is_judged_and_the_shares_are_shown(looma: Looma, tmp_path: Path) -> None:
    calls = [record(f"c{n}", turns=TURNS) for n in range(3)]
    looma("import", str(write_jsonl(tmp_path / "calls.jsonl", calls)), "--no-analyze")
    assert json.loads(looma("analysis", "shares", "--json"))["local"] == 0
    shares = json.loads(looma("analysis", "run", "--json"))
    assert (shares["local"], shares["waiting"], shares["dead_letters"]) == (3, 0, 0)
    assert "100.0 %" in looma("analysis", "shares")


def test_topics_and_scripts_are_set_list_by_list(looma: Looma) -> None:
    looma("analysis", "settings", "--topic", "退款", "--topic", "物流", "--must-say", "再见|bye")
    looma("analysis", "settings", "--must-not-say", "保证赚钱", "--topic", "")
    now = json.loads(looma("analysis", "settings", "--json"))
    assert now == {"topics": [], "must_say": ["再见|bye"], "must_not_say": ["保证赚钱"]}
    refused = looma.run("analysis", "settings", "--must-say", "|")
    assert refused.returncode != exit_codes.OK
    assert "must_say" in refused.stderr


def test_there_are_no_dead_letters_without_a_model(looma: Looma) -> None:
    assert json.loads(looma("analysis", "dead-letters", "--json")) == []
    assert "0 calls" in looma.run("analysis", "replay").stderr
