"""Principals, internal tokens and masking."""

import base64
import json
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Forbidden, Unauthenticated
from shared.security import (
    ALL_SCOPES,
    ANONYMOUS,
    PUBLIC,
    ROLE_SCOPES,
    InternalTokens,
    Principal,
)

SECRET = b"k" * 32
AGENT = Principal(UUID(int=7), "user:7", "agent", "user", "family")


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def tokens(clock: Clock | None = None, **kwargs) -> InternalTokens:
    return InternalTokens(SECRET, clock=clock or Clock(), **kwargs)


def test_a_minted_token_verifies_to_the_same_principal() -> None:
    assert tokens().verify(tokens().mint(AGENT, "portrait"), "portrait") == AGENT


def test_a_token_is_minted_once_per_window_and_is_good_for_half_a_minute_more() -> None:
    clock = Clock()
    gateway, service = tokens(clock), tokens(clock)
    first = gateway.mint(AGENT, "portrait")
    clock.now += 29.9
    assert gateway.mint(AGENT, "portrait") == first
    assert service.verify(first, "portrait") == AGENT
    clock.now += 0.2
    assert gateway.mint(AGENT, "portrait") != first
    assert service.verify(first, "portrait") == AGENT


def test_a_cached_token_still_expires() -> None:
    clock = Clock()
    service = tokens(clock)
    token = tokens(clock).mint(AGENT, "portrait")
    assert service.verify(token, "portrait") == AGENT
    clock.now += 61
    with pytest.raises(Unauthenticated):
        service.verify(token, "portrait")


def test_another_audience_or_secret_is_refused_even_when_cached() -> None:
    service = tokens()
    token = tokens().mint(AGENT, "portrait")
    service.verify(token, "portrait")
    with pytest.raises(Unauthenticated):
        service.verify(token, "auth")
    with pytest.raises(Unauthenticated):
        InternalTokens(b"l" * 32, clock=Clock()).verify(token, "portrait")


def test_alg_none_and_a_changed_payload_are_refused() -> None:
    token = tokens().mint(AGENT, "portrait")
    _, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    unsigned = jwt.encode(claims, "", algorithm="none")
    claims["role"] = "admin"
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    for forged in (unsigned, f"{token.split('.')[0]}.{body}.{signature}"):
        with pytest.raises(Unauthenticated):
            tokens().verify(forged, "portrait")


@given(st.text(max_size=300))
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens().verify(text, "portrait")


def test_caches_stay_bounded() -> None:
    gateway = tokens(cache_size=50)
    for number in range(200):
        token = gateway.mint(Principal(UUID(int=number), "user:x", "agent", "user"), "portrait")
        gateway.verify(token, "portrait")
    assert len(gateway._minted) == len(gateway._verified) == 50


def test_scopes_decide_between_401_and_403() -> None:
    with pytest.raises(Unauthenticated):
        ANONYMOUS.require("portrait:read")
    with pytest.raises(Forbidden):
        AGENT.require("users:admin")
    ANONYMOUS.require(PUBLIC)
    AGENT.require("portrait:read")


def test_every_role_holds_known_scopes_only() -> None:
    assert all(scopes <= ALL_SCOPES for scopes in ROLE_SCOPES.values())


def test_who_may_start_a_job_may_look_at_it() -> None:
    for scopes in ROLE_SCOPES.values():
        if scopes & {"portrait:compute", "projections:write", "jobs:write"}:
            assert "jobs:read" in scopes


def test_a_role_may_what_a_lesser_one_may_and_its_own() -> None:
    agent = {"self", "calls:read", "portrait:read", "llm:use"}
    analyst = agent | {"calls:search", "calls:write", "portrait:summary", "portrait:compute"}
    analyst |= {"llm:read", "analysis:read", "jobs:read", "customers:write"}
    analyst |= {"segments:read", "segments:write"}
    admin = analyst | {"users:admin", "keys:admin", "audit:read", "gateway:admin"}
    admin |= {"llm:admin", "analysis:write", "jobs:write", "projections:write", "status:read"}
    admin |= {"webhooks:read", "webhooks:write", "customers:erase"}
    known = {"agent": agent, "analyst": analyst, "service": analyst, "admin": admin}
    assert dict(ROLE_SCOPES) == {**known, "anonymous": set()}
