"""The kinds of job of the enrichment service."""

from __future__ import annotations

from typing import Final

from ai_services.enrichment.analysis.job import LLM_ANALYZE_BATCH
from ai_services.enrichment.customers.job import ERASE_CUSTOMER
from ai_services.enrichment.imports.job import IMPORT_CALLS
from ai_services.enrichment.imports.taking_back import TAKE_BACK_IMPORT
from ai_services.enrichment.imports.try_job import TRY_IMPORT
from ai_services.enrichment.sources.job import SYNC_SOURCE
from ai_services.enrichment.sync.job import SYNC_CALL_RECORDS

JOBS: Final = (
    LLM_ANALYZE_BATCH, IMPORT_CALLS, TRY_IMPORT, TAKE_BACK_IMPORT, SYNC_CALL_RECORDS, SYNC_SOURCE,
    ERASE_CUSTOMER,
)  # fmt: skip
