"""The issuer of a run: one Ed25519 key, its JWKS, as many principals as are asked for."""

from __future__ import annotations

import base64
import random
import time
from typing import Final
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ISSUER: Final = "looma"
AUDIENCE: Final = "looma"
_KEY_ID: Final = "benchmark"
_LIFE_S: Final = 3600


class Issuer:
    """Signs access tokens as the auth service does (JWT, EdDSA, RFC 8037)."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self._random = random.Random(7)
        self._head = _base64(orjson.dumps({"alg": "EdDSA", "kid": _KEY_ID, "typ": "JWT"}))

    def jwks(self) -> bytes:
        public = _base64(self._private.public_key().public_bytes_raw()).decode()
        key = {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": _KEY_ID}
        return orjson.dumps({"keys": [{**key, "use": "sig", "alg": "EdDSA"}]})

    def token(self) -> str:
        """The access token of another analyst, of one of a hundred organisations."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": f"user:{self._uuid()}",
            "org": str(UUID(int=self._random.randrange(100))),
            "role": "analyst",
            "sid": str(self._uuid()),
            "iat": now,
            "nbf": now,
            "exp": now + _LIFE_S,
            "jti": f"{self._random.getrandbits(128):032x}",
        }
        signed = self._head + b"." + _base64(orjson.dumps(claims))
        return (signed + b"." + _base64(self._private.sign(signed))).decode()

    def _uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
