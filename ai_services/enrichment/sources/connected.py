"""The systems that stay connected, as jobs and routes have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ai_services.enrichment.sources.metrics import SourceMetrics
from ai_services.enrichment.sources.settings import SourceSettings
from shared.errors import NotFound


@dataclass(frozen=True, slots=True)
class Connected:
    metrics: SourceMetrics
    settings: Mapping[str, SourceSettings] = field(default_factory=dict)

    def read_for(self, organisation: str) -> list[SourceSettings]:
        """Those that are read for this organisation, by its short name."""
        return [
            one
            for one in self.settings.values()
            if one.organisation == organisation and one.kind != "push"
        ]

    def source_of(self, organisation: str, name: str) -> SourceSettings:
        """NotFound for one that isn't this organisation's, as for one that isn't there."""
        found = self.settings.get(name)
        if found is None or found.organisation != organisation:
            have = sorted(
                one.name for one in self.settings.values() if one.organisation == organisation
            )
            listed = ", ".join(have) or "none"
            raise NotFound(
                f"There is no source {name[:60]!r} of this organisation. The file that SOURCES names "
                f"has {listed}."
            )
        return found
