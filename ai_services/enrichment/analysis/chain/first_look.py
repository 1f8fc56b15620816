"""The first look at transcripts that came in: which verdict holds now, and who is to judge next.

A verdict that is kept for the same words is taken; else the local analyser's holds. Where that is
not certain enough it holds until a model has judged: it is degraded, and waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from ai_services.enrichment.analysis.chain import store
from ai_services.enrichment.analysis.chain.asking.verdict import Verdict
from ai_services.enrichment.analysis.chain.insight_rows import insight_row
from ai_services.enrichment.analysis.chain.judged import Judged, judged_by_model
from ai_services.enrichment.analysis.chain.metrics import ChainMetrics
from ai_services.enrichment.analysis.chain.own_model import with_label
from ai_services.enrichment.analysis.chain.rules import LOCAL_ONLY, Rules
from ai_services.enrichment.analysis.chain.transcript import Item, basis_of, items_of, normalised
from ai_services.enrichment.analysis.chain.trivial import is_trivial
from ai_services.enrichment.analysis.chain.wanted import Wanted, wanted_by
from ai_services.enrichment.analysis.local import Analysis, Turn
from shared.data_access.ports import Relational, Row

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.trained.model import TrainedModel

Looked = tuple[list[Judged], list[tuple[Any, ...]]]  # and their rows of insights


class FirstLook:
    """`look` at a batch. `analyzer` is the model's name as a judge, '' where there is none.

    `trained` has the last word on its fact. `metrics` count what is judged, None: nobody does.
    """

    def __init__(
        self,
        rules: Rules = LOCAL_ONLY,
        analyzer: str = "",
        window_tokens: int = 16_000,
        trained: TrainedModel | None = None,
        metrics: ChainMetrics | None = None,
    ) -> None:
        self._rules = rules
        self._analyzer = analyzer if rules.model is not None else ""
        self._window = window_tokens
        self._trained = trained
        self._metrics = metrics

    def saved(self, judged: Sequence[Judged]) -> None:
        """These of what was looked at are saved: only they count."""
        if self._metrics is not None:
            self._metrics.judged(judged)

    async def look(
        self,
        db: Relational,
        org_id: UUID,
        calls: Sequence[Row],
        transcripts: Sequence[Sequence[Turn]],
        analyses: Sequence[Analysis],
    ) -> Looked:
        """What to save of each, in their order: (callid, turns, version, call_date, duration_ms)."""
        async with db.tenant(org_id, readonly=True) as tx:
            wanted = await wanted_by(tx, org_id)
        items: list[list[Item]] = [[] for _ in calls]
        known: Mapping[bytes, Verdict] = {}
        if self._analyzer:
            items = await asyncio.to_thread(self._items, transcripts, wanted)
            digests = [item.digest for several in items for item in several]
            async with db.tenant(org_id, readonly=True) as tx:
                known = read_verdicts(await store.cached(tx, org_id, digests))
        return await asyncio.to_thread(
            self._judged, org_id, calls, transcripts, analyses, items, known, wanted
        )

    def _items(self, transcripts: Sequence[Sequence[Turn]], wanted: Wanted) -> list[list[Item]]:
        """None for what is trivial."""
        basis = basis_of(self._analyzer, wanted.topics)
        found: list[list[Item]] = []
        for turns in transcripts:
            said = normalised(turns)
            trivial = is_trivial(said, self._rules.shortest)
            found.append([] if trivial else items_of(said, basis, self._window))
        return found

    def _judged(
        self,
        org_id: UUID,
        calls: Sequence[Row],
        transcripts: Sequence[Sequence[Turn]],
        analyses: Sequence[Analysis],
        items: Sequence[Sequence[Item]],
        known: Mapping[bytes, Verdict],
        wanted: Wanted,
    ) -> Looked:
        judged = [
            with_label(
                self._one(call, turns, analysis, several, known, wanted),
                self._trained,
                org_id,
                turns,
            )
            for call, turns, analysis, several in zip(
                calls, transcripts, analyses, items, strict=True
            )
        ]
        rows = [
            insight_row(org_id, call["callid"], one, turns, call["duration_ms"], wanted.script)
            for call, turns, one in zip(calls, transcripts, judged, strict=True)
        ]
        return judged, rows

    def _one(
        self,
        call: Row,
        turns: Sequence[Turn],
        analysis: Analysis,
        items: Sequence[Item],
        known: Mapping[bytes, Verdict],
        wanted: Wanted,
    ) -> Judged:
        if not self._analyzer:
            return Judged(analysis, "local")
        if not items:
            return Judged(analysis, "trivial")
        verdicts = [known[item.digest] for item in items if item.digest in known]
        if len(verdicts) == len(items):
            return judged_by_model(
                verdicts, turns, wanted.topics, call["call_date"], self._analyzer, "cache"
            )
        if analysis.confidence >= self._rules.certain_from:
            return Judged(analysis, "local")
        return Judged(analysis, "fallback", degraded=True, waits=True)


def read_verdicts(stored: Mapping[bytes, Any]) -> dict[bytes, Verdict]:
    """What was kept by another version and doesn't fit any more is none."""
    verdicts: dict[bytes, Verdict] = {}
    for digest, one in stored.items():
        try:
            verdicts[digest] = Verdict.model_validate(one)
        except ValidationError:
            continue
    return verdicts
