"""Tokens that must open nothing, and those that must open what they may."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import orjson
import pytest

from gateway.auth.access_tokens import AccessTokens
from gateway.auth.jwks import SigningKeys
from shared.errors import Unauthenticated, UpstreamUnavailable
from shared.security import ANONYMOUS, InternalTokens
from tests.gateway.conftest import SECRET, Platform
from tests.gateway.issuer import ORG, USER, FakeAuth, Signer, b64, claims


def forged(header: dict[str, Any], payload: dict[str, Any], key: bytes | None) -> str:
    """A token put together by hand; HS256 with `key`, unsigned with None."""
    signed = f"{b64(orjson.dumps(header))}.{b64(orjson.dumps(payload))}"
    mac = b"" if key is None else hmac.digest(key, signed.encode(), hashlib.sha256)
    return f"{signed}.{b64(mac)}"


def signed(signer: Signer, payload: dict[str, Any]) -> str:
    """Any payload, well signed: the library that mints refuses some itself."""
    head = b64(orjson.dumps({"alg": "EdDSA", "kid": signer.kid}))
    text = f"{head}.{b64(orjson.dumps(payload))}"
    return f"{text}.{b64(signer.private.sign(text.encode()))}"


def nested(auth: FakeAuth, depth: int) -> str:
    """A header that a parser which calls itself may choke on."""
    head = b'{"alg":"EdDSA","kid":"key-1","x":' + b"[" * depth + b"]" * depth + b"}"
    return f"{b64(head)}.{auth.token().partition('.')[2]}"


def spoiled(token: str) -> str:
    head, payload, signature = token.split(".")
    return f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def swapped(token: str, **changes: Any) -> str:
    """The payload exchanged under the old signature."""
    head, _, signature = token.split(".")
    return f"{head}.{b64(orjson.dumps(claims(**changes)))}.{signature}"


RSA = Signer.rsa("key-1")
STRANGER = Signer.ed25519("key-1")
NOW = int(time.time())

ABUSES: dict[str, Callable[[FakeAuth], str]] = {
    "expired": lambda a: a.token(exp=NOW - 60),
    "not yet": lambda a: a.token(nbf=int(time.time()) + 120),
    "foreign issuer": lambda a: a.token(iss="evil"),
    "issuer with a tail": lambda a: a.token(iss="looma.evil.example"),
    "issuer as a list": lambda a: signed(a.signers[0], claims(iss=["looma"])),
    "foreign audience": lambda a: a.token(aud="portrait"),
    "audience of others": lambda a: a.token(aud=["portrait", "evil"]),
    "bad signature": lambda a: spoiled(a.token()),
    "no signature": lambda a: a.token().rpartition(".")[0] + ".",
    "swapped payload": lambda a: swapped(a.token(), role="admin"),
    "stranger's key under our kid": lambda a: STRANGER.sign(claims()),
    "stranger's kid": lambda a: Signer.ed25519("key-9").sign(claims()),
    "other algorithm under our kid": lambda a: RSA.sign(claims()),
    "alg none": lambda a: forged({"alg": "none", "kid": "key-1"}, claims(), None),
    "alg None": lambda a: forged({"alg": "None", "kid": "key-1"}, claims(), None),
    "alg empty": lambda a: forged({"alg": "", "kid": "key-1"}, claims(), None),
    "alg missing": lambda a: forged({"kid": "key-1"}, claims(), None),
    "alg a list": lambda a: forged({"alg": ["EdDSA"], "kid": "key-1"}, claims(), None),
    "HS256 with the public key": lambda a: forged(
        {"alg": "HS256", "kid": "key-1"}, claims(), a.signers[0].public_bytes()
    ),
    "HS256 with the public JWK": lambda a: forged(
        {"alg": "HS256", "kid": "key-1"}, claims(), orjson.dumps(a.signers[0].jwk())
    ),
    "HS256 posing as EdDSA": lambda a: forged(
        {"alg": "EdDSA", "kid": "key-1"}, claims(), a.signers[0].public_bytes()
    ),
    "crit": lambda a: a.signers[0].sign(claims(), crit=["exp"]),
    "crit unknown": lambda a: a.signers[0].sign(claims(), crit=["x"], x=1),
    "kid missing": lambda a: jwt.encode(claims(), a.signers[0].private, algorithm="EdDSA"),
    "kid a path": lambda a: a.signers[0].sign(claims(), kid="../../../../dev/null"),
    "kid SQL": lambda a: a.signers[0].sign(claims(), kid="key-1' OR '1'='1"),
    "kid a URL": lambda a: a.signers[0].sign(claims(), kid="https://evil.example/jwks.json"),
    "kid with NUL": lambda a: a.signers[0].sign(claims(), kid="key-1\x00"),
    "kid a number": lambda a: forged({"alg": "EdDSA", "kid": 1}, claims(), None),
    "kid huge": lambda a: a.signers[0].sign(claims(), kid="k" * 2000),
    "own key in the header": lambda a: STRANGER.sign(claims(), jwk=STRANGER.jwk()),
    "own key's address in the header": lambda a: STRANGER.sign(
        claims(), jku=f"{a.wire.url}/jwks", x5u=f"{a.wire.url}/x5u"
    ),
    **{
        f"without {name}": lambda a, name=name: a.token(**{name: None})
        for name in ("exp", "iss", "aud", "nbf", "sub", "org", "role")
    },
    "exp a text": lambda a: a.token(exp=str(NOW + 900)),
    "exp infinite": lambda a: a.token(exp=1e300),
    "exp true": lambda a: a.token(exp=True),
    "org no UUID": lambda a: a.token(org="main"),
    "org a list": lambda a: a.token(org=[str(ORG)]),
    "sub a service": lambda a: a.token(sub="service:gateway"),
    "sub a key": lambda a: a.token(sub=f"key:{USER}"),
    "sub no UUID": lambda a: a.token(sub="user:1"),
    "role unknown": lambda a: a.token(role="root"),
    "role anonymous": lambda a: a.token(role="anonymous"),
    "role a list": lambda a: a.token(role=["admin"]),
    "sid a list": lambda a: a.token(sid=["x"]),
    "an internal token": lambda a: InternalTokens(SECRET.encode()).mint(ANONYMOUS, "enrichment"),
    "too long": lambda a: a.token(padding="x" * 5000),
    "two parts": lambda a: "a.b",
    "five parts": lambda a: "a.b.c.d.e",
    "no JSON": lambda a: f"{b64(b'nonsense')}.x.y",
    "header nested deeply": lambda a: nested(a, 1020),
    "header nested more deeply": lambda a: nested(a, 960),
    "header nested too deeply": lambda a: nested(a, 1400),
    "header a list": lambda a: f"{b64(b'[]')}.x.y",
    "deep header": lambda a: f"{b64(b'[' * 3000)}.x.y",
    "empty parts": lambda a: "..",
    "random": lambda a: "deadbeef",
}


@pytest.mark.parametrize("abuse", list(ABUSES), ids=lambda name: name.replace(" ", "-"))
async def test_a_bad_token_is_401_and_reaches_nobody(platform: Platform, abuse: str) -> None:
    token = ABUSES[abuse](platform.auth)
    got = await platform.client.get("/api/v1/calls", headers={"Authorization": f"Bearer {token}"})
    assert (got.status_code, got.json()["error"]) == (401, "unauthenticated"), got.text
    assert got.headers["www-authenticate"] == "Bearer"
    assert platform.enrichment.requests == []
    assert token not in got.text


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Basic YTpi")],
        [("Authorization", "Bearer")],
        [("Authorization", "{token}")],
        [("Authorization", "Bearer {token} x")],
        [("Authorization", "Bearer {token}"), ("Authorization", "Bearer {token}")],
        [("Authorization", "Bearer {token}"), ("X-API-Key", "looma_x")],
        [("X-API-Key", "")],
        [("X-API-Key", "a b c d e f g h")],
        [("Cookie", "token={token}")],
        [("X-User-Role", "admin")],
        [("X-Internal-Token", "{token}")],
    ],
)
async def test_a_credential_in_another_form_is_401(
    platform: Platform, headers: list[tuple[str, str]]
) -> None:
    token = platform.auth.token()
    sent = [(name, value.format(token=token)) for name, value in headers]
    got = await platform.client.get("/api/v1/calls", headers=sent)
    assert got.status_code == 401
    assert platform.enrichment.requests == []


async def test_a_good_token_opens(platform: Platform) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {platform.auth.token()}"}
        assert (await platform.client.get("/api/v1/calls", headers=headers)).status_code == 200
    headers = platform.auth.bearer(aud=["other", "looma"])
    assert (await platform.client.get("/api/v1/calls", headers=headers)).status_code == 200


async def test_rs256_opens_when_the_issuer_has_such_a_key(
    tmp_path: Any, platform: Platform
) -> None:
    auth = FakeAuth([Signer.rsa("rsa-1"), Signer.ed25519("key-1")])
    keys = SigningKeys(jwks_of(auth))
    tokens = AccessTokens(keys, issuer="looma", audience="looma")
    assert (await tokens.verify(auth.signers[0].sign(claims()))).principal.org_id == ORG
    # HS256 keyed with the RSA public key in PEM, the classic.
    with pytest.raises(Unauthenticated):
        await tokens.verify(
            forged({"alg": "HS256", "kid": "rsa-1"}, claims(), auth.signers[0].public_bytes())
        )
    # RS256 over a key of the other kind.
    with pytest.raises(Unauthenticated):
        await tokens.verify(forged({"alg": "RS256", "kid": "key-1"}, claims(), b"x"))


def jwks_of(auth: FakeAuth) -> Callable[[], Awaitable[Any]]:
    async def fetch() -> Any:
        return {"keys": [signer.jwk() for signer in auth.signers]}

    return fetch


@pytest.mark.parametrize(
    ("offset", "good"), [(-1, True), (0, True), (29, True), (30, False), (31, False)]
)
async def test_expiry_has_thirty_seconds_of_leeway(offset: int, good: bool) -> None:
    auth = FakeAuth()
    tokens = AccessTokens(
        SigningKeys(jwks_of(auth)), issuer="looma", audience="looma", clock=lambda: NOW + offset
    )
    token = auth.token(exp=NOW, nbf=NOW - 900)
    if good:
        assert (await tokens.verify(token)).expires_at == NOW
    else:
        with pytest.raises(Unauthenticated, match="expired"):
            await tokens.verify(token)


@pytest.mark.parametrize(("offset", "good"), [(-31, False), (-30, True), (0, True)])
async def test_the_beginning_has_thirty_seconds_of_leeway(offset: int, good: bool) -> None:
    auth = FakeAuth()
    tokens = AccessTokens(
        SigningKeys(jwks_of(auth)), issuer="looma", audience="looma", clock=lambda: NOW + offset
    )
    token = auth.token(nbf=NOW)
    if good:
        await tokens.verify(token)
    else:
        with pytest.raises(Unauthenticated, match="not valid yet"):
            await tokens.verify(token)


async def test_keys_that_can_not_be_had_are_503_not_401(platform: Platform) -> None:
    async def fetch() -> Any:
        raise UpstreamUnavailable("away")

    tokens = AccessTokens(SigningKeys(fetch), issuer="looma", audience="looma")
    with pytest.raises(UpstreamUnavailable):
        await tokens.verify(platform.auth.token())
