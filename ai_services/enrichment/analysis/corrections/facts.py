"""The facts of an analysis that a person may decide, and what follows from deciding one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ai_services.enrichment.analysis.chain.merge import sentiment_of
from shared.calls import Sentiment
from shared.errors import InvalidInput

# By the table that has them. What is measured (talk, script, evidence) nobody can decide.
CALL_FACTS: Final = ("sentiment", "sentiment_score", "complaint_risk", "churn_risk", "reason")
INSIGHT_FACTS: Final = (
    "summary", "topic", "follow_up", "callbacks", "resolution", "agent_quality",
    "agent_quality_reason",
)  # fmt: skip
FACTS: Final = (*CALL_FACTS, *INSIGHT_FACTS)

_PAIRED: Final = frozenset({"sentiment", "sentiment_score"})
# Where a person names a sentiment and no score, and the call has none that means the same.
_TYPICAL: Final[Mapping[Sentiment, float]] = {"positive": 0.8, "neutral": 0.5, "negative": 0.2}


def decided(given: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, and what follows from it.

    A sentiment and its score say the same: of one follows the other, unless the `current` one fits.
    InvalidInput where both are given and don't.
    """
    facts = dict(given)
    if "sentiment_score" in facts:
        said = sentiment_of(facts["sentiment_score"])
        if facts.setdefault("sentiment", said) != said:
            raise InvalidInput.of(
                "sentiment_score",
                f"is {said}, which the sentiment isn't",
                "send 0 to 0.4 for negative, from 0.6 for positive, between them for neutral, "
                "or leave one of the two out",
            )
    elif "sentiment" in facts:
        score = current["sentiment_score"]
        fits = score is not None and sentiment_of(score) == facts["sentiment"]
        facts["sentiment_score"] = score if fits else _TYPICAL[facts["sentiment"]]
    return facts


def with_pairs(names: frozenset[str]) -> frozenset[str]:
    """What is withdrawn with these: a sentiment goes with its score."""
    return names | _PAIRED if names & _PAIRED else names
