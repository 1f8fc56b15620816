"""One verdict of several windows, by a fixed rule, and what is saved of a verdict."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from ai_services.enrichment.analysis.chain.asking.verdict import Promise, Verdict
from ai_services.enrichment.analysis.chain.judged import due, judged_by_model
from ai_services.enrichment.analysis.chain.merge import merged, score_of
from ai_services.enrichment.analysis.local import Turn

WEDNESDAY = dt.date(2024, 12, 4)


def verdict(**changes: Any) -> Verdict:
    base: dict[str, Any] = {
        "id": "a", "sentiment": "neutral", "sentiment_score": 0.5, "complaint_risk": "low",
        "churn_risk": "low", "reason": "calm", "confidence": 0.9, "evidence": ["calm words"],
        "summary": "First.", "topic": "other", "follow_up": None, "callbacks": [],
        "resolution": "no_request", "agent_quality": 4, "agent_quality_reason": "clear",
    }  # fmt: skip
    return Verdict(**{**base, **changes})


def test_the_gravest_risks_and_the_last_end_count() -> None:
    one = merged(
        [
            verdict(sentiment="positive", sentiment_score=0.8, topic="退款", resolution="resolved"),
            verdict(complaint_risk="high", reason="threat", evidence=["I sue"], confidence=0.4,
                    topic="退款", follow_up="call back", resolution="unresolved", agent_quality=1),
            verdict(churn_risk="medium", topic="物流", summary="Last."),
        ]
    )  # fmt: skip
    assert (one.complaint_risk, one.churn_risk, one.reason) == ("high", "medium", "threat")
    assert (one.confidence, one.topic, one.resolution) == (0.4, "退款", "unresolved")
    assert one.evidence[0] == "I sue"
    assert (one.agent_quality, one.follow_up) == (3, "call back")
    assert one.summary == "First. First. Last."
    assert one.sentiment_score == pytest.approx((0.8 + 0.5 * 1.25 + 0.5 * 1.5) / 3.75, abs=1e-4)


def test_one_window_is_itself() -> None:
    assert merged([verdict()]) == verdict()


def test_quotes_are_few_and_different_however_many_windows_there_are() -> None:
    window = verdict(evidence=["the same", *(f"quote {n}" for n in range(50))] * 2)
    assert len(window.evidence) == 20
    other = verdict(evidence=["another", "the same"], complaint_risk="high")
    evidence = merged([window] * 30 + [other]).evidence
    assert evidence[:3] == ["another", "the same", "quote 0"]
    assert len(set(evidence)) == len(evidence) == 20


@pytest.mark.parametrize(
    ("sentiment", "score", "kept"),
    [
        ("positive", 0.1, 0.6),
        ("negative", 0.9, 0.4),
        ("neutral", 1.0, 0.59),
        ("positive", 0.7, 0.7),
    ],
)
def test_a_score_lies_within_its_sentiment(sentiment: str, score: float, kept: float) -> None:
    assert score_of(verdict(sentiment=sentiment, sentiment_score=score)) == kept


@pytest.mark.parametrize(
    ("promise", "day"),
    [
        ({"days": 1}, "2024-12-05"),
        ({"weekday": 5}, "2024-12-06"),
        ({"weekday": 3}, "2024-12-11"),
        ({"weekday": 1}, "2024-12-09"),
        ({"date": "2024-12-24"}, "2024-12-24"),
        ({"date": "tomorrow", "days": 1}, "2024-12-05"),
        ({"days": 100_000}, None),
        ({"weekday": 9}, None),
        ({}, None),
    ],
)
def test_the_day_of_a_promise_is_reckoned_from_the_call(
    promise: dict[str, Any], day: str | None
) -> None:
    found = due(Promise(said="x", **promise), WEDNESDAY)
    assert (None if found is None else found.isoformat()) == day


def test_texts_of_models_are_lines_of_bounded_length() -> None:
    wild = verdict(summary="a\x00b\n\u202ec" * 300, topic="none of ours", reason="r" * 900)
    turns = [Turn("customer", None, "calm words")]
    judged = judged_by_model([wild], turns, ("退款",), WEDNESDAY, "llm:m", "model")
    assert judged.insight.summary is not None
    assert len(judged.insight.summary) == 500
    assert judged.insight.summary.startswith("a b c")
    assert judged.insight.topic == "other"
    assert len(judged.analysis.reason) == 300
