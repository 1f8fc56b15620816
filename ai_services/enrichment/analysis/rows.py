"""Turns as they are read from the database, analyses as they are written to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ai_services.enrichment.analysis.local import Analysis, Turn


def to_turns(turns: Sequence[dict[str, Any]]) -> list[Turn]:
    return [Turn(turn["role"], turn.get("at_ms"), turn["text"]) for turn in turns]


def columns(a: Analysis) -> tuple[Any, ...]:
    return (a.sentiment, a.sentiment_score, a.complaint_risk, a.churn_risk, a.reason, a.analyzer)
