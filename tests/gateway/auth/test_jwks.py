"""How long keys are believed, and how often they are asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gateway.auth.jwks import SigningKeys, parse_jwks
from shared.errors import UpstreamError, UpstreamUnavailable
from tests.gateway.issuer import Signer, b64

KEY = Signer.ed25519("one")
NEXT = Signer.ed25519("two")


@dataclass
class Source:
    signers: list[Signer] = field(default_factory=lambda: [KEY])
    asked: int = 0
    down: bool = False
    now: float = 1000.0
    delay: float = 0.0

    def keys(self) -> SigningKeys:
        return SigningKeys(self.fetch, clock=lambda: self.now)

    async def fetch(self) -> Any:
        self.asked += 1
        await asyncio.sleep(self.delay)
        if self.down:
            raise UpstreamUnavailable("down")
        return {"keys": [signer.jwk() for signer in self.signers]}


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_fetch_serves_everybody_for_300_seconds() -> None:
    source = Source(delay=0.01)
    keys = source.keys()
    found = await asyncio.gather(*(keys.find("one") for _ in range(50)))
    assert all(found)
    source.now += 299
    assert await keys.find("one")
    assert source.asked == 1


async def test_stale_keys_serve_while_they_are_renewed_in_the_background() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("one")
    source.now += 301
    source.delay = 0.05
    assert await asyncio.wait_for(keys.find("one"), 0.02)
    await asyncio.sleep(0.08)
    assert source.asked == 2
    assert keys.age == 0


async def test_stale_keys_serve_for_an_hour_when_renewal_fails_and_no_longer() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("one")
    source.down = True
    source.now += 3500
    assert await keys.find("one")
    await settle()
    source.now += 401
    with pytest.raises(UpstreamUnavailable):
        await keys.find("one")
    source.down = False
    source.now += 2
    assert await keys.find("one")


async def test_a_new_key_is_noticed_at_once_and_a_flood_of_unknown_ones_is_not_passed_on() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("one")
    source.signers = [KEY, NEXT]
    source.now += 20
    assert await keys.find("two")
    assert source.asked == 2
    for number in range(100):
        assert await keys.find(f"invented-{number}") is None
    assert source.asked == 2
    source.now += 10.1
    await asyncio.gather(*(keys.find(f"invented-{number}") for number in range(100)))
    assert source.asked == 3


async def test_a_retired_key_is_forgotten_with_the_next_fetch() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("one")
    source.signers = [NEXT]
    source.now += 301
    await keys.find("one")
    await settle()
    assert await keys.find("one") is None


async def test_an_outage_is_tried_at_most_every_second() -> None:
    source = Source(down=True)
    keys = source.keys()
    for _ in range(20):
        with pytest.raises(UpstreamUnavailable):
            await keys.find("one")
    assert source.asked == 1
    source.now += 1.1
    source.down = False
    assert await keys.find("one")


async def test_an_unknown_key_during_an_outage_is_no_verdict() -> None:
    source = Source()
    keys = source.keys()
    await keys.find("one")
    source.down = True
    source.now += 20
    for _ in range(5):  # asked for once; nobody is told no by who could not ask
        with pytest.raises(UpstreamUnavailable):
            await keys.find("two")
        source.now += 1.5
    assert source.asked == 2
    assert await keys.find("one")


def test_only_public_keys_for_signatures_are_taken() -> None:
    weak = Signer.rsa("weak", 1024).jwk()
    document = {
        "keys": [
            KEY.jwk(),
            Signer.rsa("strong").jwk(),
            weak,
            {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0"},
            {**NEXT.jwk(), "kid": "encrypts", "use": "enc"},
            {**NEXT.jwk(), "kid": "other-algorithm", "alg": "RS256"},
            {**NEXT.jwk(), "kid": 5},
            {**NEXT.jwk(), "kid": "broken", "x": "!!"},
            {"kty": "EC", "crv": "P-256", "kid": "curve"},
            "nonsense",
        ]
    }
    found = parse_jwks(document)
    assert {kid: key.algorithm for kid, key in found.items()} == {"one": "EdDSA", "strong": "RS256"}


def test_a_key_verifies_one_algorithm_that_its_issuer_has() -> None:
    unnamed = {name: value for name, value in Signer.rsa("any").jwk().items() if name != "alg"}
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = {**orjson.loads(ECAlgorithm.to_jwk(curve)), "kid": "point"}
    document = {"keys": [unnamed, {**unnamed, "kid": "pss", "alg": "PS256"}, point, KEY.jwk()]}
    found = parse_jwks(document, ["RS384", "ES256"])
    assert {kid: key.algorithm for kid, key in found.items()} == {"any": "RS384", "point": "ES256"}
    found = parse_jwks(document, ["PS256", "EdDSA"])
    assert {kid: key.algorithm for kid, key in found.items()} == {
        "any": "PS256", "pss": "PS256", "one": "EdDSA",
    }  # fmt: skip


def test_keys_that_only_do_harm_are_left_out() -> None:
    private = orjson.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048)))
    slow = Signer.rsa("slow").jwk()
    document = {
        "keys": [
            {**private, "kid": "private", "alg": "RS256"},
            {**slow, "n": b64(b"\xff" * 1100)},
            {**slow, "kid": "exponent", "e": b64(b"\x01" * 200)},
            {**slow, "kid": "empty", "n": ""},
            {**slow, "kid": "list", "n": [1]},
            {**slow, "kid": "null", "e": None},
            {**slow, "kid": "signs", "key_ops": ["sign"]},
            {**slow, "kid": "operations", "key_ops": 5},
            {**slow, "kid": "good", "key_ops": ["verify"]},
        ]
    }
    assert set(parse_jwks(document)) == {"good"}


@pytest.mark.parametrize("document", [None, [], {}, {"keys": 5}, {"data": {"keys": []}}])
def test_what_is_no_key_set_is_an_error(document: Any) -> None:
    with pytest.raises(UpstreamError):
        parse_jwks(document)
