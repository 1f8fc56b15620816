"""Which limits a request and an attempt are under, by the models file."""

from __future__ import annotations

from uuid import UUID

from ai_services.llm.asking.rate import Places, Rate, Scope
from ai_services.llm.models.catalogue import Limits, Provider, Purpose
from ai_services.llm.models.catalogue import Rate as Allowed


def of_provider(provider: Provider) -> list[Rate]:
    allowed = Allowed(provider.requests_per_minute, provider.tokens_per_minute)
    return _rates("provider", provider.name, allowed)


def places(provider: Provider) -> Places | None:
    if provider.concurrency is None:
        return None
    return Places("provider", provider.name, provider.concurrency)


def of_client(org_id: UUID, subject: str, purpose: Purpose, limits: Limits) -> list[Rate]:
    """Of the organisation, of whoever asks, and of the organisation's requests for a purpose."""
    return [
        *_rates("organisation", str(org_id), limits.organisation),
        *_rates("key", f"{org_id}:{subject}", limits.subject),
        *_rates("purpose", f"{org_id}:{purpose.name}", purpose.rate),
    ]


def _rates(scope: Scope, of: str, allowed: Allowed) -> list[Rate]:
    found = []
    if allowed.requests_per_minute is not None:
        found.append(Rate(scope, of, "requests", allowed.requests_per_minute))
    if allowed.tokens_per_minute is not None:
        found.append(Rate(scope, of, "tokens", allowed.tokens_per_minute))
    return found
