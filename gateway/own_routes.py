"""What the gateway answers itself to signed-in callers, as data: its own API beside the services'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sanic.request import Request

from gateway.page import Page
from shared.security import Principal


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A request to one of the gateway's own routes; its caller has the scope."""

    request: Request
    principal: Principal
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class OwnRoute:
    method: str
    path: str
    scope: str
    summary: str
    handler: Callable[[OwnCall], Awaitable[Any]]  # the `data` of the envelope
    operation: Mapping[str, Any] = field(default_factory=dict)  # more of its OpenAPI description

    def describe(self) -> dict[str, Any]:
        """Its operation for the merged OpenAPI document."""
        return {
            "summary": self.summary,
            "tags": ["gateway"],
            "operationId": f"gateway.{self.path.rpartition('/')[2]}",
            "x-scope": self.scope,
            "security": [{"bearer": []}, {"apiKey": []}],
            "responses": {"200": {"description": "OK"}},
            **self.operation,
        }


def enveloped(data: Any, request_id: str) -> Page:
    return Page(orjson.dumps({"code": 0, "data": data, "request_id": request_id}))
