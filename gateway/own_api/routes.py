"""The gateway's own routes: what it answers itself to signed-in callers, as data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel

from gateway.http.request import GatewayRequest
from gateway.own_api.page import Page
from shared.serving.entity_tag import weak_tag
from shared.serving.openapi import FailureSchema, operation, schemas
from shared.wire import success_envelope


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A request to one of the gateway's own routes; its caller has the scope."""

    request: GatewayRequest
    body: bytes = b""
    trace_lines: str = ""  # header lines for whoever is asked on its behalf


@dataclass(frozen=True, slots=True)
class OwnRoute:
    """A route with its handler; described like a service's (shared.serving.openapi)."""

    method: str
    path: str
    scope: str
    summary: str
    handler: Callable[[OwnCall], Awaitable[Any]]  # the `data` of the envelope
    body_limit: int = 0  # bytes; 0: it takes no body
    body: type[BaseModel] | None = None
    returns: type[BaseModel] | None = None

    @property
    def query(self) -> type[BaseModel] | None:
        return None

    @property
    def takes(self) -> Sequence[str]:
        return ()

    @property
    def status(self) -> int:
        return 200

    @property
    def waited(self) -> type[BaseModel] | None:
        return None

    @property
    def sends(self) -> Sequence[str]:
        return ()

    @property
    def failure_schema(self) -> FailureSchema:
        return "Error"

    @property
    def enveloped(self) -> bool:
        return True

    def describe(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Its operation for the merged OpenAPI document, and the schemas that it refers to."""
        described = operation("gateway", self)
        described["operationId"] = f"gateway.{self.path.rpartition('/')[2]}"
        return described, schemas([self])


def enveloped(data: Any, request_id: str, method: str) -> Page:
    """The success envelope; with a validator if it answers a GET."""
    written = orjson.dumps(data)
    body = success_envelope(written, request_id)
    return Page(body, headers=_validated(written) if method == "GET" else ())


def _validated(data: bytes) -> tuple[tuple[str, str], ...]:
    return (
        ("ETag", weak_tag(data)),
        ("Cache-Control", "private, no-cache"),
        ("Vary", "authorization, x-api-key"),
    )
