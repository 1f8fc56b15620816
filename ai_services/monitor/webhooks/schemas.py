"""Wire types of webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ai_services.monitor.webhooks.delivery.address import MAX_URL_CHARS
from ai_services.monitor.webhooks.events import EVENT_TYPES, EventType
from ai_services.monitor.webhooks.service import Secret
from ai_services.monitor.webhooks.store.deliveries import Delivery, DeliveryState
from ai_services.monitor.webhooks.store.thresholds import Op, PeriodType
from ai_services.monitor.webhooks.store.webhooks import DisabledAs, Webhook
from ai_services.monitor.webhooks.thresholds import METRICS, SEGMENT_SIZE
from shared.cursor import Cursor


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError(
            "text", "has characters that can't be shown", {"fix": "remove them"}
        )
    return text


Url = Annotated[
    str,
    Field(
        max_length=MAX_URL_CHARS,
        description="https, on port 443 or 8443, of a host on the public internet",
        examples=["https://crm.example.com/looma"],
    ),
]
EventTypes = Annotated[
    list[EventType],
    Field(min_length=1, max_length=len(EVENT_TYPES)),
    AfterValidator(lambda named: list(dict.fromkeys(named))),  # one named twice is heard of once
]
Description = Annotated[str, Field(max_length=200), AfterValidator(_printable)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class WebhookIn(_In):
    url: Url
    event_types: EventTypes
    description: Description = ""
    active: bool = Field(True, strict=True)


class WebhookChangeIn(_In):
    """What is left out stays as it is."""

    url: Url | None = None
    event_types: EventTypes | None = None
    description: Description | None = None
    active: bool | None = Field(None, strict=True)


class WebhookOut(_Out):
    webhook_id: UUID
    url: str
    event_types: list[EventType]
    description: str
    active: bool = Field(description="messages are sent to it")
    disabled_as: DisabledAs | None = Field(
        description="why the platform sends it nothing more: it answered 410, or failed for five days"
    )
    failing_since: datetime | None = Field(description="the first failure since its last success")
    old_secret_until: datetime | None = Field(
        description="until then messages are signed with the secret before the last as well"
    )
    created_at: datetime
    updated_at: datetime


class WebhooksOut(BaseModel):
    webhooks: list[WebhookOut] = Field(description="oldest first")

    @classmethod
    def of(cls, found: list[Webhook]) -> WebhooksOut:
        return cls(webhooks=[WebhookOut.model_validate(one) for one in found])


class SecretOut(WebhookOut):
    secret: str = Field(repr=False, description="whsec_…, shown this once")

    @classmethod
    def of(cls, made: Secret) -> SecretOut:
        shown = WebhookOut.model_validate(made.webhook)
        return cls(**shown.model_dump(), secret=made.secret)


class DeliveriesQuery(_In):
    state: DeliveryState | None = Field(None, description="deliveries in this state only")
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


class DeliveryOut(BaseModel):
    delivery_id: UUID
    webhook_id: UUID
    message_id: str = Field(description="the header webhook-id, the same at every attempt")
    event_type: str
    state: DeliveryState = Field(description="dead: given up, and kept to be sent again")
    attempts: int
    last_status: int | None = Field(description="of the last answer")
    last_error: str | None
    next_attempt_at: datetime | None = Field(description="null unless it waits")
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, found: Delivery) -> DeliveryOut:
        return cls(
            delivery_id=found.delivery_id,
            webhook_id=found.webhook_id,
            message_id=found.message_id,
            event_type=found.event_type,
            state=found.state,
            attempts=found.attempts,
            last_status=found.last_status,
            last_error=found.last_error,
            next_attempt_at=found.due_at if found.state == "waiting" else None,
            created_at=found.created_at,
            finished_at=found.finished_at,
        )


class DeliveriesOut(BaseModel):
    deliveries: list[DeliveryOut] = Field(description="newest first, of the last 30 days")
    next_cursor: str | None


class ThresholdIn(_In):
    """Told of as `threshold.reached` where `metric` in a period is `op` `value`: that of all users, or
    the size of a segment.
    """

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
    metric: str = Field(
        max_length=100,
        json_schema_extra={
            "anyOf": [{"enum": list(METRICS)}, {"pattern": f"^{SEGMENT_SIZE.pattern}$"}]
        },
    )
    period_type: PeriodType
    op: Op
    value: float = Field(allow_inf_nan=False)


class ThresholdOut(_Out):
    threshold_id: UUID
    name: str
    metric: str
    period_type: PeriodType
    op: Op
    value: float
    created_at: datetime


class ThresholdsOut(BaseModel):
    thresholds: list[ThresholdOut] = Field(description="oldest first")
