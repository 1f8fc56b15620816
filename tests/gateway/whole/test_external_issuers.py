"""Tokens of organisations' own identity providers: what they open, and what they must not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest

from gateway.auth.access_tokens import AccessTokens
from gateway.auth.issuer_file import ExternalIssuer
from gateway.auth.issuers import external_principal
from gateway.auth.jwks import SigningKeys
from gateway.auth.jwks_download import downloading
from shared.errors import Unauthenticated, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from shared.security import InternalTokens
from tests.gateway.conftest import SECRET, Platform, platform_in
from tests.gateway.issuer import ORG, FakeAuth, Signer, claims
from tests.gateway.wire import Behaviour, Received, Wire, answer, json_answer, served, until

ACME, BETA = UUID(int=0xAC), UUID(int=0xBE)


@dataclass
class Provider:
    """An identity provider on loopback."""

    name: str
    org_id: UUID
    signers: list[Signer] = field(default_factory=lambda: [Signer.rsa("key-1")])
    asked: int = 0
    failing: bool = False

    def __post_init__(self) -> None:
        self.wire = Wire(self._answer)

    @property
    def issuer(self) -> str:
        return f"https://login.{self.name}.example/realms/crm"

    def claims(self, *groups: str, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        base = {
            "iss": self.issuer, "aud": "looma-crm", "sub": "jo|42", "iat": now, "nbf": now,
            "exp": now + 600, "realm_access": {"roles": list(groups)},
        }  # fmt: skip
        return {name: value for name, value in {**base, **changes}.items() if value is not None}

    def token(self, *groups: str, **changes: Any) -> str:
        return self.signers[0].sign(self.claims(*groups, **changes))

    def bearer(self, *groups: str, **changes: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(*groups, **changes)}"}

    def entry(self, **changes: str) -> str:
        lines = {
            "issuer": f'"{self.issuer}"',
            "jwks_url": f'"{self.wire.url}/certs"',
            "algorithms": '["RS256", "ES256"]',
            "audience": '"looma-crm"',
            "org_id": f'"{self.org_id}"',
            "subject_prefix": f'"{self.name}"',
            "role_claim": '["realm_access", "roles"]',
            "roles": '{ "leads" = "analyst", "staff" = "agent", "ops" = "admin" }',
            **changes,
        }
        return "[[issuer]]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())

    async def _answer(self, _received: Received, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        keys = {"keys": [signer.jwk() for signer in self.signers]}
        writer.write(json_answer({}, 500) if self.failing else json_answer(keys))
        await writer.drain()


@dataclass
class Federation:
    platform: Platform
    acme: Provider
    beta: Provider

    async def get(self, token: str, path: str = "/api/v1/calls") -> Any:
        return await self.platform.client.get(path, headers={"Authorization": f"Bearer {token}"})


@asynccontextmanager
async def federation_in(home: Path, redis_at: str, trusted: str = "") -> AsyncIterator[Federation]:
    """A gateway that takes tokens of two organisations' issuers beside ours."""
    acme, beta = Provider("acme", ACME), Provider("beta", BETA)
    await acme.wire.start()
    await beta.wire.start()
    path = home / "issuers.toml"
    path.write_text(acme.entry() + beta.entry())
    try:
        async with platform_in(
            home, REDIS_URL=redis_at, GATEWAY_ISSUERS=str(path), TRUSTED_PROXIES=trusted
        ) as platform:
            yield Federation(platform, acme, beta)
    finally:
        await acme.wire.stop()
        await beta.wire.stop()


@pytest.fixture(scope="module")
async def shared_federation(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Federation]:
    async with federation_in(tmp_path_factory.mktemp("federation"), redis_at) as running:
        yield running


@pytest.fixture
def federation(shared_federation: Federation) -> Federation:
    shared_federation.platform.enrichment.requests.clear()
    return shared_federation


async def test_a_token_speaks_for_its_issuers_organisation_with_the_mapped_role(
    federation: Federation,
) -> None:
    platform = federation.platform
    for provider, group, role in (
        (federation.acme, "leads", "analyst"),
        (federation.beta, "staff", "agent"),
    ):
        got = await federation.get(provider.token("others", group))
        assert got.status_code == 200, got.text
        token = platform.enrichment.last.header("x-internal-token") or ""
        principal = InternalTokens(SECRET.encode()).verify(token, "enrichment")
        assert principal.org_id == provider.org_id
        assert (principal.subject, principal.role) == (f"external:{provider.name}:jo|42", role)
        assert (principal.kind, principal.session) == ("user", "")
    assert (await platform.get("/api/v1/calls")).status_code == 200  # and ours go on


async def test_who_has_no_mapped_role_is_signed_in_and_may_do_nothing(
    federation: Federation,
) -> None:
    for token in (
        federation.acme.token(),
        federation.acme.token("admin", "LEADS", "Leads "),
        federation.acme.token("leads", realm_access=None),
        federation.acme.token(realm_access="leads"),
        federation.acme.token(realm_access={"roles": {"leads": True}}),
        federation.acme.token(role="admin", roles=["leads"], groups=["ops"]),
    ):
        for path in ("/api/v1/calls", "/api/v1/auth/me", "/api/v1/gateway/routes"):
            assert (await federation.get(token, path)).status_code == 403
    assert federation.platform.enrichment.requests == []


async def test_an_issuer_can_not_name_another_organisation(federation: Federation) -> None:
    token = federation.beta.token(
        "leads", org=str(ORG), org_id=str(ACME), sid="x", kind="service", aud=["looma-crm", "looma"]
    )
    assert (await federation.get(token)).status_code == 200
    inner = federation.platform.enrichment.last.header("x-internal-token") or ""
    principal = InternalTokens(SECRET.encode()).verify(inner, "enrichment")
    assert (principal.org_id, principal.kind) == (BETA, "user")


def ours(provider: Provider, auth: FakeAuth, **changes: Any) -> str:
    """What the provider would sign to be taken for our own auth service."""
    payload = claims("admin", **changes)
    return provider.signers[0].sign(payload, kid=auth.signers[0].kid)


ABUSES: dict[str, Callable[[Federation], str]] = {
    "foreign audience": lambda f: f.acme.token("ops", aud="other-app"),
    "our audience": lambda f: f.acme.token("ops", aud="looma"),
    "no audience": lambda f: f.acme.token("ops", aud=None),
    "unknown issuer": lambda f: f.acme.token("ops", iss="https://evil.example"),
    "issuer with a slash more": lambda f: f.acme.token("ops", iss=f.acme.issuer + "/"),
    "issuer in capitals": lambda f: f.acme.token("ops", iss=f.acme.issuer.upper()),
    "no issuer": lambda f: f.acme.token("ops", iss=None),
    "of A with B's key": lambda f: f.beta.signers[0].sign(f.acme.claims("ops")),
    "of B with A's key": lambda f: f.acme.signers[0].sign(f.beta.claims("ops")),
    "ours with A's key": lambda f: ours(f.acme, f.platform.auth),
    "ours with A's key and audience": lambda f: ours(f.acme, f.platform.auth, aud="looma-crm"),
    "of A with our key": lambda f: f.platform.auth.signers[0].sign(f.acme.claims("ops")),
    "A's algorithm that is not allowed": lambda f: jwt.encode(
        f.acme.claims("ops"), f.acme.signers[0].private, "RS512", {"kid": "key-1"}
    ),
    "PS256 with an RS256 key": lambda f: jwt.encode(
        f.acme.claims("ops"), f.acme.signers[0].private, "PS256", {"kid": "key-1"}
    ),
    "HS256 with the issuer's name": lambda f: jwt.encode(
        f.acme.claims("ops"), "k" * 32, "HS256", {"kid": "key-1"}
    ),
    "unsigned": lambda f: jwt.encode(f.acme.claims("ops"), "", "none", {"kid": "key-1"}),
    "expired": lambda f: f.acme.token("ops", exp=int(time.time()) - 31),
    "without end": lambda f: f.acme.token("ops", exp=None),
    "too long a life": lambda f: f.acme.token("ops", exp=int(time.time()) + 3700),
    "without beginning": lambda f: f.acme.token("ops", nbf=None),
    "not yet": lambda f: f.acme.token("ops", nbf=int(time.time()) + 60),
    "critical extension": lambda f: f.acme.signers[0].sign(f.acme.claims("ops"), crit=["exp"]),
    "keys elsewhere": lambda f: Signer.rsa("other").sign(
        f.acme.claims("ops"), jku=f"{f.beta.wire.url}/certs"
    ),
    "nobody": lambda f: f.acme.token("ops", sub=""),
    "a line break for a name": lambda f: f.acme.token("ops", sub="a\r\nx-user-role: admin"),
    "too long a name": lambda f: f.acme.token("ops", sub="a" * 256),
    "no JWT": lambda f: "a.%.c",
    "too long": lambda f: f.acme.token("ops", padding="x" * 9000),
}


@pytest.mark.parametrize("abuse", list(ABUSES), ids=lambda name: name.replace(" ", "-"))
async def test_a_bad_token_is_401_and_reaches_nobody(federation: Federation, abuse: str) -> None:
    got = await federation.get(ABUSES[abuse](federation))
    assert (got.status_code, got.json()["error"]) == (401, "unauthenticated"), got.text
    assert federation.platform.enrichment.requests == []


async def test_names_of_people_of_two_issuers_are_never_equal(federation: Federation) -> None:
    subjects = set()
    for provider in (federation.acme, federation.beta):
        await federation.get(
            provider.token("leads", sub="user:00000000-0000-0000-0000-000000000042")
        )
        inner = federation.platform.enrichment.last.header("x-internal-token") or ""
        subjects.add(InternalTokens(SECRET.encode()).verify(inner, "enrichment").subject)
    assert len(subjects) == 2
    assert all(subject.startswith("external:") for subject in subjects)


async def test_a_provider_that_is_away_signs_nobody_out_and_keeps_nobody_else_out(
    tmp_path: Path, redis_at: str
) -> None:
    async with federation_in(tmp_path, redis_at) as own:
        assert (await own.get(own.acme.token("leads"))).status_code == 200
        await own.acme.wire.stop()
        assert (await own.get(own.acme.token("leads"))).status_code == 200  # the keys are at hand
        stranger = Signer.rsa("new").sign(own.acme.claims("leads"))
        for _ in range(3):  # nobody can tell whether that key is good
            assert (await own.get(stranger)).status_code == 503
        assert (await own.get(own.beta.token("leads"))).status_code == 200
        assert (await own.platform.get("/api/v1/calls")).status_code == 200
        assert (await own.platform.client.get("/ready")).status_code == 200


async def test_a_new_key_of_a_provider_is_taken_at_once(federation: Federation) -> None:
    provider = federation.beta
    asked = provider.asked
    provider.signers.insert(0, Signer.rsa("key-2"))
    assert (await federation.get(provider.token("leads"))).status_code == 200
    assert provider.asked == asked + 1
    old = provider.signers[1].sign(provider.claims("leads"))
    assert (await federation.get(old)).status_code == 200  # as long as it is published


def issuer(provider: Provider, **changes: Any) -> ExternalIssuer:
    values: dict[str, Any] = {
        "issuer": provider.issuer, "jwks_url": provider.wire.url, "algorithms": ("RS256",),
        "audience": "looma-crm", "org_id": provider.org_id, "subject_prefix": provider.name,
        "role_claim": ("realm_access", "roles"), "roles": {"leads": "analyst"}, **changes,
    }  # fmt: skip
    return ExternalIssuer(**values)


async def test_stale_keys_serve_for_an_hour_and_a_retired_one_no_longer_than_it_is_published() -> (
    None
):
    now = 1000.0
    provider = Provider("acme", ACME, [Signer.rsa("key-1"), Signer.rsa("key-2")])
    await provider.wire.start()
    async with downloading(provider.wire.url) as download:
        keys = SigningKeys(download.fetch, algorithms=("RS256",), clock=lambda: now)
        who = issuer(provider)
        tokens = AccessTokens(
            keys,
            issuer=who.issuer,
            audience=who.audience,
            principal=lambda said: external_principal(who, said),
        )
        token = provider.token("leads")
        assert (await tokens.verify(token)).principal.org_id == ACME
        provider.failing = True
        now += 3800
        assert (await tokens.verify(token)).principal.role == "analyst"
        await until(lambda: _is(provider.asked == 2), 2)
        now += 200
        with pytest.raises(UpstreamUnavailable):
            await tokens.verify(token)
        provider.failing = False
        provider.signers.pop(0)
        now += 11
        with pytest.raises(Unauthenticated):
            await tokens.verify(token)
        keys.close()
    await provider.wire.stop()


async def _is(condition: bool) -> bool:
    return condition


async def test_an_issuer_without_nbf_is_judged_by_iat() -> None:
    provider = Provider("acme", ACME)

    async def fetch() -> Any:
        return {"keys": [provider.signers[0].jwk()]}

    entry = issuer(provider, jwks_url="https://acme.example/certs")
    tokens = AccessTokens(
        SigningKeys(fetch, algorithms=("RS256",)),
        issuer=provider.issuer,
        audience="looma-crm",
        principal=partial(external_principal, entry),
        begins="iat",
    )
    await tokens.verify(provider.token(nbf=None))
    later = int(time.time()) + 60
    for changes in ({"iat": None}, {"nbf": None, "iat": later}, {"nbf": later}, {"nbf": "soon"}):
        with pytest.raises(Unauthenticated):
            await tokens.verify(provider.token(**changes))


async def drip(_received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(100):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


def said(response: bytes) -> Behaviour:
    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await writer.drain()

    return behave


@pytest.mark.parametrize(
    ("behaviour", "error", "problem"),
    [
        (said(answer(302, headers={"location": "http://127.0.0.1:1/"})), UpstreamError, "redirect"),
        (said(answer(404)), UpstreamError, "answers 404"),
        (said(answer(200, b"<html>")), UpstreamError, "not JSON"),
        (said(answer(200, b" " * 300_000)), UpstreamError, "more than 262144"),
        (
            said(answer(200, b"x", headers={"content-encoding": "gzip"})),
            UpstreamError,
            "compressed",
        ),
        (said(b"nonsense\r\n\r\n"), UpstreamUnavailable, "can't be reached"),
        (drip, UpstreamTimeout, "longer than 0.3 s"),
    ],
    ids=["redirect", "404", "html", "huge", "compressed", "no-http", "drip"],
)
async def test_a_download_takes_a_small_answer_from_the_one_address(
    behaviour: Behaviour, error: type[UpstreamError], problem: str
) -> None:
    async with served(behaviour) as wire, downloading(wire.url, whole=0.3) as download:
        with pytest.raises(error, match=problem):
            await download.fetch()


async def test_a_download_from_nobody_is_unavailable(free_port: int) -> None:
    async with downloading(f"http://127.0.0.1:{free_port}/") as download:
        with pytest.raises(UpstreamUnavailable, match="can't be reached"):
            await download.fetch()
