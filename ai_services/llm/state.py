"""The llm service's state: what its handlers work with."""

from __future__ import annotations

from dataclasses import dataclass

from ai_services.llm.asking.completions import Completions
from ai_services.llm.batches.batches import Batches
from ai_services.llm.batches.files import Files
from ai_services.llm.models.reload import Models
from ai_services.llm.organisation.settings import Settings
from shared.data_access.ports import Relational


@dataclass(frozen=True, slots=True)
class State:
    relational: Relational
    models: Models
    completions: Completions
    settings: Settings
    files: Files
    batches: Batches
