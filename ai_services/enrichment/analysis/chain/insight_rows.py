"""A judged call as the row of its insight, with what is reckoned here from its turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ai_services.enrichment.analysis.chain.judged import Judged, evidence_json
from ai_services.enrichment.analysis.chain.script import Script, adherence
from ai_services.enrichment.analysis.chain.talk import talk
from ai_services.enrichment.analysis.local import Turn


def insight_row(
    org_id: UUID,
    callid: str,
    judged: Judged,
    turns: Sequence[Turn],
    duration_ms: int,
    script: Script,
) -> tuple[Any, ...]:
    """In the order of `store.save_insights`."""
    one, talked, kept = judged.insight, talk(turns, duration_ms), adherence(turns, script)
    return (
        org_id, callid, judged.step, judged.degraded, judged.waits, judged.analysis.confidence,
        evidence_json(judged.analysis.evidence), one.summary, one.topic, one.follow_up,
        list(one.callbacks), one.resolution, one.agent_quality, one.agent_quality_reason,
        talked.talk_ratio, talked.silence_ratio, talked.interruptions,
        list(kept.missing), list(kept.forbidden),
    )  # fmt: skip
