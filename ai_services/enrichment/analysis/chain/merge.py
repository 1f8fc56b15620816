"""One verdict of those on the windows of a long transcript, by a fixed rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ai_services.enrichment.analysis.chain.asking.verdict import OTHER_TOPIC, Resolution, Verdict
from ai_services.enrichment.analysis.local import NEGATIVE_TO, POSITIVE_FROM
from shared.calls import RISKS, Risk, Sentiment

_SCORES = {
    "positive": (POSITIVE_FROM, 1.0),
    "neutral": (0.41, 0.59),
    "negative": (0.0, NEGATIVE_TO),
}


def sentiment_of(score: float) -> Sentiment:
    if score >= POSITIVE_FROM:
        return "positive"
    return "negative" if score <= NEGATIVE_TO else "neutral"


def score_of(verdict: Verdict) -> float:
    """The score, within what its sentiment means: where a model contradicts itself the word counts."""
    return score_within(verdict.sentiment, verdict.sentiment_score)


def score_within(sentiment: Sentiment, score: float) -> float:
    """The score that is nearest of those that the sentiment means."""
    low, high = _SCORES[sentiment]
    return round(min(max(score, low), high), 4)


def merged(verdicts: Sequence[Verdict]) -> Verdict:
    """Of windows in their order.

    The mean score, later windows weighing up to half more; the highest risks, with the reason of the
    window that has them; the lowest confidence; the most frequent topic; how the last window ended;
    the mean quality. Quotes, promises and what is to do are those of all windows.
    """
    if len(verdicts) == 1:
        return verdicts[0]
    last = verdicts[-1]
    weights = [1.0 + 0.5 * n / (len(verdicts) - 1) for n in range(len(verdicts))]
    scores = [score_of(one) * weight for one, weight in zip(verdicts, weights, strict=True)]
    score = round(sum(scores) / sum(weights), 4)
    gravest = max(verdicts, key=lambda one: _gravity(one.complaint_risk) + _gravity(one.churn_risk))
    qualities = [one.agent_quality for one in verdicts if one.agent_quality is not None]
    return Verdict(
        id=verdicts[0].id,
        sentiment=sentiment_of(score),
        sentiment_score=score,
        complaint_risk=max((one.complaint_risk for one in verdicts), key=_gravity),
        churn_risk=max((one.churn_risk for one in verdicts), key=_gravity),
        reason=gravest.reason,
        confidence=min(one.confidence for one in verdicts),
        evidence=[quote for one in (gravest, *verdicts) for quote in one.evidence],
        summary=" ".join(one.summary for one in verdicts),
        topic=_topic(verdicts),
        follow_up="; ".join(one.follow_up for one in verdicts if one.follow_up) or None,
        callbacks=[promise for one in verdicts for promise in one.callbacks],
        resolution=_resolution(verdicts),
        agent_quality=round(sum(qualities) / len(qualities)) if qualities else None,
        agent_quality_reason=last.agent_quality_reason
        or next((one.agent_quality_reason for one in verdicts if one.agent_quality_reason), None),
    )


def _gravity(risk: Risk) -> int:
    return RISKS.index(risk)


def _topic(verdicts: Sequence[Verdict]) -> str:
    named = Counter(one.topic for one in verdicts if one.topic != OTHER_TOPIC)
    return named.most_common(1)[0][0] if named else OTHER_TOPIC


def _resolution(verdicts: Sequence[Verdict]) -> Resolution:
    """The last window that has a request at all."""
    ends = [one.resolution for one in verdicts if one.resolution != "no_request"]
    return ends[-1] if ends else "no_request"
