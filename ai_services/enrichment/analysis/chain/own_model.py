"""A trained model's label in the place of what the rest of the chain says of that fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ai_services.enrichment.analysis.chain.judged import Judged
from ai_services.enrichment.analysis.chain.merge import score_within
from ai_services.enrichment.analysis.local import Turn

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.trained.model import TrainedModel


def heard(turns: Sequence[Turn]) -> str:
    """What a model reads of a transcript: the customer's words, a turn a line."""
    return "\n".join(turn.text for turn in turns if turn.role == "customer" and turn.text.strip())


def with_label(
    judged: Judged, model: TrainedModel | None, org_id: UUID, turns: Sequence[Turn]
) -> Judged:
    """`judged` with the model's fact, and its name beside the analyser's.

    As it was where there is no model, none of this organisation's, or no word of the customer.
    """
    if model is None or model.org_id not in (None, org_id):
        return judged
    text = heard(turns)
    if not text:
        return judged
    label = model.label(text).label
    analysis = replace(judged.analysis, analyzer=f"{judged.analysis.analyzer}+{model.analyzer}")
    said: dict[str, Any] = {model.fact: label}  # a model of that fact has no other labels
    if model.fact in ("topic", "resolution"):
        return replace(judged, analysis=analysis, insight=replace(judged.insight, **said))
    if model.fact == "sentiment":
        said["sentiment_score"] = score_within(said["sentiment"], analysis.sentiment_score)
    return replace(judged, analysis=replace(analysis, **said))
