"""What the jobs of the service need, opened once per process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ai_services.enrichment.analysis.chain.opening import Chain
from ai_services.enrichment.analysis.metrics import AnalysisMetrics
from ai_services.enrichment.analysis.pending import PooledAnalyzer
from ai_services.enrichment.counts import OrganisationCounts
from ai_services.enrichment.sources.connected import Connected
from ai_services.enrichment.sync.source import CallSource
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY


@dataclass(frozen=True, slots=True)
class Work:
    """`sources` are where organisations' calls are fetched from as files, `connected` the systems that
    are read themselves; `country` is where phone numbers without a country code belong.
    """

    data_key: bytes
    analyzer: PooledAnalyzer
    chain: Chain
    analyses: AnalysisMetrics
    counts: OrganisationCounts
    sources: Sequence[CallSource] = ()
    country: str = DEFAULT_COUNTRY
    connected: Connected | None = None
