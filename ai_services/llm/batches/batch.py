"""A batch as it is kept: what was asked, how far it is, what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from ai_services.llm.models.price import Price
from ai_services.llm.protocol.usage import Usage

Endpoint = Literal["/v1/chat/completions", "/v1/embeddings"]
Ended = Literal["completed", "failed", "expired", "cancelled"]
Status = Literal["validating", "in_progress", "finalizing", "cancelling", Ended]
WINDOW_S: Final = 86_400.0  # in which a provider answers
# Beyond the window: what a provider needs to end a batch, and to be asked once it is there again.
LEASE_S: Final = WINDOW_S + 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch, which the provider knows by its attempt in the ledger."""

    attempt_id: UUID
    custom_id: str
    worst: Usage
    input_estimate: int


@dataclass(frozen=True, slots=True)
class Batch:
    org_id: UUID
    batch_id: UUID
    input_file_id: UUID
    endpoint: Endpoint
    metadata: Mapping[str, str] | None
    model: str
    provider: str
    upstream_model: str
    price: Price
    status: Status
    errors: list[dict[str, Any]] | None
    total: int
    completed: int
    failed: int
    output_file_id: UUID | None
    error_file_id: UUID | None
    upstream_id: str | None
    upstream_file: str | None
    created_at: datetime
    expires_at: datetime
    sending_at: datetime | None
    in_progress_at: datetime | None
    finalizing_at: datetime | None
    cancelling_at: datetime | None
    ended_at: datetime | None
    looks: int = field(repr=False)

    @property
    def has_ended(self) -> bool:
        return self.ended_at is not None
