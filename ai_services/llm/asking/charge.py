"""What an answer is charged with: by what the provider states, as far as that can be true.

it said how many tokens it took       its price (source `provider`)
it said nothing, or what can't be     tokens as counted here (`counted`)
it said more than what was reserved   the worst case, as reserved (`estimate`)
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ai_services.llm.models.price import Price
from ai_services.llm.protocol.answer import Doubt, believed
from ai_services.llm.protocol.tokens import estimate
from ai_services.llm.protocol.usage import Usage
from ai_services.llm.spend.attempt import Source

COUNTED: Final = 1 << 20  # characters of an answer: more has more tokens than any model writes


@dataclass(frozen=True, slots=True)
class Charge:
    """`doubt`: why what the provider states was not taken."""

    usage: Usage
    cost: Decimal
    source: Source
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What one attempt was reserved with: its worst case, and about how many tokens it sends."""

    worst: Usage
    input_estimate: int
    price: Price

    def charged(self, stated: object, text: str) -> Charge:
        """By the usage that is `stated` of an answer with `text`."""
        usage = believed(stated, self.worst, has_text=bool(text))
        if isinstance(usage, Usage):
            return Charge(usage, self.price.cost(usage), "provider")
        if usage == "excessive":  # what it took can't be seen here, so that no budget is escaped
            return Charge(self.worst, self.price.cost(self.worst), "estimate", usage)
        counted = self.counted(text)
        return Charge(counted.usage, counted.cost, "counted", usage)

    def counted(self, text: str) -> Charge:
        """By what was written, as counted here."""
        written = estimate(text[:COUNTED])
        usage = Usage(min(self.input_estimate, self.worst.input), min(written, self.worst.output))
        return Charge(usage, self.price.cost(usage), "counted")
