"""Which request goes where, and what is answered when it goes nowhere."""

from __future__ import annotations

import pytest

from shared.security import ROLE_SCOPES
from tests.gateway.conftest import Platform
from tests.gateway.wire import always, answer


async def test_a_routed_request_reaches_its_service(platform: Platform) -> None:
    got = await platform.get("/api/v1/calls/c-1?limit=5&x=%20y")
    assert got.status_code == 200
    assert got.json()["data"]["target"] == "/api/v1/calls/c-1?limit=5&x=%20y"
