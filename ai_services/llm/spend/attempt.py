"""One attempt at a model as the ledger sees it: what is reserved before it, what settles it after."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from uuid import UUID

from ai_services.llm.protocol.usage import Usage

Outcome = Literal[
    "ok", "error", "timeout", "rate_limited", "refused", "cancelled", "broken", "invalid", "unknown"
]
# Where the tokens come from: said by the provider, counted here, taken from the reservation.
Source = Literal["provider", "counted", "estimate", "none"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is about to be asked of a provider. `tokens` and `cost` are those of the worst case.

    `parent` is the attempt before it of the same request. After `lease_s` seconds without a
    settlement its outcome counts as unknown.
    """

    attempt_id: UUID
    request_id: UUID
    parent: UUID | None
    org_id: UUID
    subject: str  # of the principal: 'user:<uuid>', 'key:<uuid>', 'service:<name>'
    purpose: str
    provider: str
    model: str
    price_version: str
    tokens: Usage
    cost: Decimal
    lease_s: float
    prompt_version: str = ""  # of the named prompt that it was rendered from


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an attempt ended. `latency_ms` counts from its start, as does `first_token_ms`."""

    usage: Usage
    cost: Decimal
    latency_ms: int
    first_token_ms: int | None
    outcome: Outcome
    source: Source
