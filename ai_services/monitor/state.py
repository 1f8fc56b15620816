"""What the handlers of the monitor service find, each of a room its own part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ai_services.monitor.status.survey import Survey
from ai_services.monitor.webhooks.service import Webhooks
from shared.data_access.ports import Relational
from shared.serving.service import Call, Endpoint

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class State:
    relational: Relational
    survey: Survey
    webhooks: Webhooks


def given(part: Callable[[State], P], endpoints: Iterable[Endpoint[P]]) -> list[Endpoint[State]]:
    """Endpoints whose handlers find `part` of the state in `Call.state`."""
    return [_given(part, endpoint) for endpoint in endpoints]


def _given(part: Callable[[State], P], endpoint: Endpoint[Any]) -> Endpoint[State]:
    async def handler(call: Call[Any]) -> Any:
        return await endpoint.handler(replace(call, state=part(call.state)))

    return replace(endpoint, handler=handler)
