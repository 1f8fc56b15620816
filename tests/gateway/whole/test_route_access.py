"""Every route of every service and of the gateway itself, and all who must not pass it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from gateway.routing.packaged import packaged_routes
from shared.security import (
    ALL_SCOPES,
    ANONYMOUS,
    PUBLIC,
    ROLE_SCOPES,
    USER_ROLES,
    InternalTokens,
    Principal,
)
from tests.gateway.conftest import SECRET, Platform
from tests.gateway.issuer import ORG, Signer, claims
from tests.gateway.whole.test_external_issuers import Federation, federation_in
from tests.gateway.wire import until

INTERNAL = InternalTokens(SECRET.encode())
OTHER_ORG = UUID(int=8)
ENDED = str(uuid4())  # a session that is over
# What a client would be believed by, if anything believed it.
CLAIMED = {
    "X-User-Id": str(UUID(int=42)), "X-User-Role": "admin", "X-User-Org": str(ORG),
    "X-User-Scopes": "users:admin", "X-Forwarded-User": "admin", "X-Internal-Principal": "admin",
}  # fmt: skip


@dataclass(frozen=True)
class Door:
    method: str
    path: str  # a template
    scope: str
    service: str  # 'gateway' for its own

    @property
    def target(self) -> str:
        return "/".join("x1" if part.startswith("{") else part for part in self.path.split("/"))

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


ROUTED = [Door(route.method, route.path, route.scope, route.service) for route in packaged_routes()]


@pytest.fixture(scope="module")
async def federation(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Federation]:
    """A gateway with another issuer beside ours, where one session has ended."""
    home = tmp_path_factory.mktemp("access")
    async with federation_in(home, redis_at, trusted="127.0.0.1/32") as running:
        platform = running.platform
        platform.auth.revoke(f"session:{ENDED}")

        async def over() -> bool:
            ended = platform.auth.bearer(sid=ENDED)
            got = await platform.client.get("/api/v1/calls", headers=ended)
            return got.status_code == 401

        await until(over, 5)
        yield running


@pytest.fixture(scope="module")
async def doors(federation: Federation) -> list[Door]:
    """All routes: those of the table, and what the gateway says that it answers itself."""
    described = (await federation.platform.client.get("/openapi.json")).json()["paths"]
    own = [
        Door(method.upper(), path, operation["x-scope"], "gateway")
        for path, item in described.items()
        for method, operation in item.items()
        if operation["tags"] == ["gateway"]
    ]
    return ROUTED + own


async def ask(platform: Platform, door: Door, **headers: str) -> httpx.Response:
    """From an address of its own, so that no limit of refused credentials is met."""
    address = str(UUID(bytes=b"\xfd" + uuid4().bytes[1:])).replace("-", "")
    spelled = ":".join(address[at : at + 4] for at in range(0, 32, 4))
    return await platform.client.request(
        door.method, door.target, headers={"X-Forwarded-For": spelled, **headers}
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def insider(role: Any, audience: str) -> str:
    """What only the gateway mints: a client that got hold of one must not get in with it."""
    return INTERNAL.mint(Principal(ORG, f"user:{UUID(int=42)}", role, "user"), audience)


UNKNOWN: dict[str, Callable[[Federation, Door], dict[str, str]]] = {
    "no credential": lambda _f, _d: {},
    "claims of its own": lambda _f, _d: CLAIMED,
    "wrong audience": lambda f, _d: f.platform.auth.bearer("admin", aud="portrait"),
    "wrong issuer": lambda f, _d: f.platform.auth.bearer("admin", iss="looma-internal"),
    "expired": lambda f, _d: f.platform.auth.bearer("admin", exp=int(time.time()) - 31),
    "ended session": lambda f, _d: f.platform.auth.bearer("admin", sid=ENDED),
    "a stranger's key": lambda f, _d: bearer(
        Signer.ed25519(f.platform.auth.signers[0].kid).sign(claims("admin"))
    ),
    "another issuer's key": lambda f, _d: bearer(f.acme.signers[0].sign(f.beta.claims("ops"))),
    "an unknown API key": lambda _f, _d: {"X-API-Key": f"looma_{uuid4().hex}"},
    "an internal token": lambda _f, d: {"X-Internal-Token": insider("admin", d.service)},
    "an internal token as bearer": lambda _f, d: bearer(insider("admin", d.service)),
    "an internal token as key": lambda _f, d: {"X-API-Key": insider("admin", d.service)},
}


def test_every_route_of_the_table_has_a_scope_and_few_are_public() -> None:
    assert {door.scope for door in ROUTED} <= ALL_SCOPES
    assert {str(door) for door in ROUTED if door.scope == PUBLIC} == {
        "POST /api/v1/auth/login",
        "POST /api/v1/auth/refresh",
        "GET /.well-known/jwks.json",
        "POST /api/v1/sources/{source}/events",  # opened by the message's own signature
    }


async def test_every_route_of_the_gateway_has_a_scope_and_none_is_public(doors: list[Door]) -> None:
    own = {str(door): door.scope for door in doors if door.service == "gateway"}
    assert set(own.values()) <= ALL_SCOPES - {PUBLIC}
    assert own["POST /api/v1/batch"] == "self"
    assert {scope for name, scope in own.items() if "/gateway/" in name} == {"gateway:admin"}
    assert len(own) >= 4


@pytest.mark.parametrize("who", list(UNKNOWN), ids=lambda name: name.replace(" ", "-"))
async def test_who_is_not_known_is_401_everywhere(
    federation: Federation, doors: list[Door], who: str
) -> None:
    forget(federation)
    for door in doors:
        if door.scope == PUBLIC:
            continue
        got = await ask(federation.platform, door, **UNKNOWN[who](federation, door))
        assert (str(door), got.status_code, error_of(got)) == (
            str(door), 401, "unauthenticated",
        )  # fmt: skip
    assert received(federation) == []


@pytest.mark.parametrize("role", [*USER_ROLES, "none"])
async def test_a_role_passes_where_it_has_the_scope_and_is_403_elsewhere(
    federation: Federation, doors: list[Door], role: Any
) -> None:
    platform = federation.platform
    credential = federation.acme.bearer() if role == "none" else platform.auth.bearer(role)
    scopes = ROLE_SCOPES["anonymous" if role == "none" else role]
    for door in doors:
        if door.scope == PUBLIC:
            continue
        forget(federation)
        got = await ask(platform, door, **credential)
        if door.scope in scopes:
            assert (str(door), got.status_code) not in [(str(door), 401), (str(door), 403)]
            continue
        assert (str(door), got.status_code, error_of(got)) == (str(door), 403, "forbidden")
        assert received(federation) == []


async def test_a_service_hears_the_callers_organisation_and_nothing_that_he_claims(
    federation: Federation,
) -> None:
    platform = federation.platform
    foreign = platform.auth.bearer("admin", org=str(OTHER_ORG))
    for door in ROUTED:
        forget(federation)
        credential = {} if door.scope == PUBLIC else foreign
        got = await ask(platform, door, **CLAIMED, **credential)
        assert got.status_code == 200, f"{door}: {got.text}"
        (heard,) = received(federation)
        said = heard.values("x-internal-token")
        assert len(said) == 1
        principal = INTERNAL.verify(said[0], door.service)
        if door.scope == PUBLIC:
            assert principal == ANONYMOUS
        else:
            assert (principal.org_id, principal.role) == (OTHER_ORG, "admin")
        names = {name for name, _ in heard.headers}
        assert not names & {name.lower() for name in CLAIMED}
        assert not names & {"authorization", "x-api-key", "cookie"}


async def test_public_routes_never_read_a_credential(federation: Federation) -> None:
    for door in ROUTED:
        if door.scope == PUBLIC:
            forget(federation)
            got = await ask(federation.platform, door, **bearer("nonsense"))
            assert got.status_code == 200
            (heard,) = received(federation)
            assert (
                INTERNAL.verify(heard.header("x-internal-token") or "", door.service) == ANONYMOUS
            )


async def test_what_is_internal_can_not_be_reached(federation: Federation) -> None:
    platform = federation.platform
    for path in (
        "/internal/v1/keys/verify", "/internal/v1/revocations", "/internal", "/%69nternal/v1/x",
        "//internal/v1/revocations", "/api/v1/../../internal/v1/revocations",
    ):  # fmt: skip
        got = await platform.client.get(path, headers=platform.auth.bearer("admin"))
        assert got.status_code in (400, 404), path


def error_of(got: httpx.Response) -> Any:
    """The stable name, in our form or in that of OpenAI's clients."""
    error = got.json()["error"]
    return error if isinstance(error, str) else error["code"]


def forget(federation: Federation) -> None:
    platform = federation.platform
    for wire in platform.wires.values():
        wire.requests.clear()


def received(federation: Federation) -> list[Any]:
    """What clients' requests became: the gateway's own questions are left out."""
    platform = federation.platform
    return [
        request
        for wire in platform.wires.values()
        for request in wire.requests
        if request.header("x-client-address") is not None
    ]
