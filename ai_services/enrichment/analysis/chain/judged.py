"""What is saved of a call: its four facts, and its insight."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from ai_services.enrichment.analysis.chain.asking.verdict import OTHER_TOPIC, Promise, Verdict
from ai_services.enrichment.analysis.chain.merge import merged, score_of
from ai_services.enrichment.analysis.chain.quotes import verified
from ai_services.enrichment.analysis.explain import REASON_LENGTH
from ai_services.enrichment.analysis.local import Analysis, Quote, Turn

# Who has judged: a kept verdict, the local analyser about nothing, the local analyser, a model, the
# local analyser where a model was to, and nobody but a person.
Step = Literal["cache", "trivial", "local", "model", "fallback", "person"]
STEPS: Final[tuple[Step, ...]] = get_args(Step)

_QUOTES: Final = 5
_LINE: Final = 500  # characters
_PROMISES: Final = 5
_UNSEEN: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")


@dataclass(frozen=True, slots=True)
class Insight:
    """What a model tells of a call beyond the four facts; all None where none has."""

    summary: str | None = None
    topic: str | None = None
    follow_up: str | None = None
    callbacks: tuple[dict[str, Any], ...] = ()
    resolution: str | None = None
    agent_quality: int | None = None
    agent_quality_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """`degraded`: a model was to judge it and hasn't; `waits`: it still shall."""

    analysis: Analysis
    step: Step
    degraded: bool = False
    waits: bool = False
    insight: Insight = field(default_factory=Insight)
    dropped: int = 0  # quotes that don't stand in the transcript


def judged_by_model(
    verdicts: Sequence[Verdict],
    turns: Sequence[Turn],
    topics: Sequence[str],
    call_date: dt.date,
    analyzer: str,
    step: Step,
) -> Judged:
    """The verdicts on all windows of a transcript, as what is saved of the call."""
    one = merged(verdicts)
    evidence, dropped = verified(one.evidence, turns, _QUOTES)
    analysis = Analysis(
        one.sentiment,
        score_of(one),
        one.complaint_risk,
        one.churn_risk,
        _line(one.reason, REASON_LENGTH) or "",
        analyzer,
        round(one.confidence, 4),
        tuple(evidence),
    )
    promises = [_callback(promise, turns, call_date) for promise in one.callbacks[:_PROMISES]]
    kept = tuple(promise for promise in promises if promise is not None)
    insight = Insight(
        summary=_line(one.summary),
        topic=one.topic if one.topic in topics else OTHER_TOPIC,
        follow_up=_line(one.follow_up),
        callbacks=kept,
        resolution=one.resolution,
        agent_quality=one.agent_quality,
        agent_quality_reason=_line(one.agent_quality_reason),
    )
    return Judged(analysis, step, insight=insight, dropped=dropped + len(promises) - len(kept))


def evidence_json(quotes: Sequence[Quote]) -> list[dict[str, Any]]:
    return [{"turn": quote.turn, "text": quote.text} for quote in quotes]


def _callback(promise: Promise, turns: Sequence[Turn], call_date: dt.date) -> dict[str, Any] | None:
    """None for a promise that nobody gave: its words stand nowhere."""
    quotes, _ = verified([promise.said], turns, 1)
    if not quotes:
        return None
    date = due(promise, call_date)
    time = promise.time if promise.time and _TIME.fullmatch(promise.time) else None
    return {
        "said": quotes[0].text,
        "date": None if date is None else date.isoformat(),
        "time": time,
    }


def due(promise: Promise, call_date: dt.date) -> dt.date | None:
    """The day that was promised; None where none was named, or none that is a day."""
    if promise.date:
        try:
            return dt.date.fromisoformat(promise.date)
        except ValueError:
            pass  # the words stay, without a day
    if promise.days is not None and 0 <= promise.days <= 366:
        return call_date + dt.timedelta(days=promise.days)
    if promise.weekday is not None and 1 <= promise.weekday <= 7:
        ahead = (promise.weekday - call_date.isoweekday()) % 7
        return call_date + dt.timedelta(days=ahead or 7)
    return None


def _line(text: str | None, most: int = _LINE) -> str | None:
    if text is None:
        return None
    line = _UNSEEN.sub(" ", text).strip()
    return (line if len(line) <= most else f"{line[: most - 1]}…") or None
