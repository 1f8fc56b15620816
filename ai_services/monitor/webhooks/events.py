"""What organisations can be told of, and how it is written.

A message is `{"type": …, "timestamp": …, "data": {…}}` by the Standard Webhooks specification
(standardwebhooks.com). Its id is made of the event's, so that an event heard twice is one message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

import orjson

EventType = Literal[
    "job.failed",
    "budget.reached",
    "threshold.reached",
    "segment.entered",
    "segment.left",
    "webhook.disabled",
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
TEST: Final = "webhook.test"  # sent when asked for, whatever a webhook is to hear


@dataclass(frozen=True, slots=True)
class Message:
    """`body` is sent as it is: a signature is over its bytes."""

    message_id: str
    event_type: str
    body: str


def message(event_type: str, source: str, at: datetime, data: Mapping[str, Any]) -> Message:
    """`source` names the event among all there are; the same source is the same message."""
    body = {"type": event_type, "timestamp": at.isoformat(), "data": data}
    mark = hashlib.sha256(f"{event_type}/{source}".encode()).hexdigest()[:32]
    return Message(f"msg_{mark}", event_type, orjson.dumps(body).decode())
