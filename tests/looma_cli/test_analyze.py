"""`looma analyze` as people use it: a model trained, listed, measured, and judging calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ai_services.enrichment.analysis.training.rows import TOPICS, labelled, write_csv
from tests.ai_services.enrichment.records import record, write_jsonl
from tests.looma_cli.looma import Looma


@pytest.fixture
def alone(tmp_path: Path) -> Looma:
    """Without stores."""
    return Looma(tmp_path / "home", tmp_path)


@pytest.mark.slow
def test_a_model_is_trained_listed_and_measured(alone: Looma, tmp_path: Path) -> None:
    path = str(write_csv(tmp_path / "My Topics.csv", labelled()))
    told = alone.json("analyze", "train", path, "--folds", "3")
    assert (told["model"], told["rows"]) == ("trained:my-topics@1", 36)
    assert told["accuracy"] > 0.9
    assert "# my-topics" in Path(told["card"]).read_text()
    assert "trained:my-topics@2" in alone.run("analyze", "train", path, "--folds", "3").stderr
    listed = alone.json("analyze", "models")
    assert [one["model"] for one in listed] == ["my-topics@2", "my-topics@1"]
    assert "my-topics@2" in alone("analyze", "models")
    measured = alone.json("analyze", "eval", path, "--model", "my-topics@1")
    assert (measured["model"], measured["accuracy"]) == ("trained:my-topics@1", 1.0)
    said = write_csv(tmp_path / "felt.csv", labelled(labels=1))
    said.write_text("text,label\n太差了，我要投诉,negative\nvery happy thank you,positive\n")
    assert alone.json("analyze", "eval", str(said))["accuracy"] == 1.0
    for args, why in (
        (("train", str(tmp_path / "none.csv")), "no such file"),
        (("train",), "one of the two"),
        (("train", path, "--name", "../x"), "--name"),
        (("train", path, "--folds", "13"), "13 folds need 13 rows"),
        (("eval", path, "--model", "nobody"), "my-topics@2"),
        (("eval", path, "--fact", "topic"), "judges no topic"),
    ):
        assert why in alone.refusal("analyze", *args)


@pytest.mark.slow
def test_corrections_make_a_model_that_judges_the_next_calls(looma: Looma, tmp_path: Path) -> None:
    rows = [
        (f"c-{topic}-{number}", text, topic)
        for topic, texts in TOPICS.items()
        for number, text in enumerate(texts * 2)
    ]
    said = [
        record(callid, turns=[{"role": "customer", "at_ms": 0, "text": text}])
        for callid, text, _ in rows
    ]
    looma("import", str(write_jsonl(tmp_path / "calls.jsonl", said)), "--no-analyze")
    for callid, _, topic in rows:
        if "card" not in topic:
            looma("calls", "correct", callid, "--topic", topic)
    told = looma.json("analyze", "train", "--corrections", "--folds", "3")
    assert (told["model"], told["rows"]) == ("trained:topic@1", 12)
    looma.env["ANALYZER"] = "trained:topic"
    looma("analysis", "run")
    shown = json.loads(looma("calls", "corrections", "c-refund-0", "--json"))
    assert shown["now"]["facts"] == [{"fact": "topic", "corrected": "refund", "analysed": "refund"}]
    looma.env["ANALYZER"] = "trained:nobodys"
    assert "ANALYZER: There is no trained model 'nobodys'" in looma.run("analysis", "run").stderr


def test_a_person_corrects_a_call(looma: Looma, tmp_path: Path) -> None:
    looma("import", str(write_jsonl(tmp_path / "calls.jsonl", [record("a")])), "--no-analyze")
    told = looma.json("calls", "correct", "a", "--sentiment", "positive", "--reason", "she laughed")
    assert [one["corrected"] for one in told["facts"]] == ["she laughed", "positive", 0.8]
    assert "positive" in looma("calls", "corrections", "a")
    assert "agent_quality" in looma.run("calls", "correct", "a", "--agent-quality", "9").stderr
    assert "no such call" in looma.refusal("calls", "correct", "b", "--topic", "x")
    left = looma.json("calls", "withdraw", "a", "--fact", "sentiment")
    assert [one["fact"] for one in left["facts"]] == ["reason"]
    assert "no fact" in looma.refusal("calls", "withdraw", "a", "--fact", "mood")
    assert "Nothing is corrected" in looma.run("calls", "withdraw", "a").stderr
