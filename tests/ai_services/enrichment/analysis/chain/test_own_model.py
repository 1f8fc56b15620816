"""A model's fact takes the place of the rest of the chain's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from ai_services.enrichment.analysis.chain.judged import Judged
from ai_services.enrichment.analysis.chain.own_model import with_label
from ai_services.enrichment.analysis.local import Analysis, Turn
from tests.ai_services.enrichment.analysis.trained.test_registry import model

ORG = UUID(int=1)
JUDGED = Judged(Analysis("negative", 0.1, "high", "medium", "why", "local-lexicon/3"), "local")
TURNS = [Turn("agent", 0, "A refund?"), Turn("customer", 9, "My refund, please")]


def test_a_topic_is_the_models_and_the_rest_is_not() -> None:
    found = with_label(JUDGED, model(), ORG, TURNS)
    assert found.insight.topic == "refund"
    assert found.analysis.analyzer == "local-lexicon/3+trained:topics@0"
    assert (found.analysis.sentiment, found.step) == ("negative", "local")


@pytest.mark.parametrize(
    ("fact", "labels", "wanted"),
    [
        ("sentiment", ("negative", "positive"), {"sentiment": "positive", "sentiment_score": 0.6}),
        ("churn_risk", ("high", "low"), {"churn_risk": "low", "complaint_risk": "high"}),
        ("complaint_risk", ("high", "low"), {"complaint_risk": "low", "churn_risk": "medium"}),
    ],
)
def test_facts_of_the_call_are_taken_too(
    fact: str, labels: tuple[str, str], wanted: dict[str, Any]
) -> None:
    found = with_label(JUDGED, model(fact=fact, labels=labels), ORG, TURNS).analysis
    assert {name: getattr(found, name) for name in wanted} == wanted


def test_where_a_model_has_no_say_all_stays_as_it_was() -> None:
    assert with_label(JUDGED, None, ORG, TURNS) is JUDGED
    assert with_label(JUDGED, model(org_id=UUID(int=2)), ORG, TURNS) is JUDGED
    assert with_label(JUDGED, model(), ORG, TURNS[:1]) is JUDGED
    assert with_label(JUDGED, model(org_id=ORG), ORG, TURNS).insight.topic == "refund"
