"""What tokens cost: money is Decimal with 8 places, never a float."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Final

from ai_services.llm.protocol.usage import Usage

PLACES: Final = Decimal("0.00000001")
_MILLION: Final = 6  # decimal places


@dataclass(frozen=True, slots=True)
class Price:
    """Per million tokens, from the day `since` until the next price begins."""

    version: str
    input: Decimal
    output: Decimal
    cached: Decimal
    since: date = date.min

    def cost(self, usage: Usage) -> Decimal:
        """Of one attempt, rounded up to 8 places; `cached` counts as part of `input` at most."""
        cached = min(usage.cached, usage.input)
        total = (
            (usage.input - cached) * self.input + cached * self.cached + usage.output * self.output
        )
        return total.scaleb(-_MILLION).quantize(PLACES, ROUND_CEILING)

    def in_batches(self, discount: Decimal) -> Price:
        """Of requests in a batch: less by the share `discount` (0 to 1)."""
        share = 1 - discount
        return Price(
            f"{self.version} batch",
            self.input * share,
            self.output * share,
            self.cached * share,
            self.since,
        )


UNPRICED: Final = Price("none", Decimal(0), Decimal(0), Decimal(0))
