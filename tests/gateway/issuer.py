"""An issuer of access tokens, and the auth service's part that the gateway speaks to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.gateway.wire import Received, Wire, json_answer

# New for each run: limits that an earlier one used up stay in Redis for a minute.
ORG = uuid4()
USER = uuid4()


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass
class Signer:
    """One key pair."""

    kid: str
    private: Any
    algorithm: str

    @classmethod
    def ed25519(cls, kid: str = "key-1") -> Signer:
        return cls(kid, ed25519.Ed25519PrivateKey.generate(), "EdDSA")

    @classmethod
    def rsa(cls, kid: str = "rsa-1", bits: int = 2048) -> Signer:
        return cls(kid, rsa.generate_private_key(65537, bits), "RS256")

    def jwk(self) -> dict[str, Any]:
        public = self.private.public_key()
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        return {
            **orjson.loads(algorithm.to_jwk(public)), "kid": self.kid, "use": "sig",
            "alg": self.algorithm,
        }  # fmt: skip

    def public_bytes(self) -> bytes:
        if self.algorithm == "EdDSA":
            return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        headers = {"kid": self.kid, **header}
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers=headers)


def claims(role: str = "analyst", **changes: Any) -> dict[str, Any]:
    """Claims of a good token; a change to None leaves the claim out."""
    now = int(time.time())
    base: dict[str, Any] = {
        "iss": "looma", "aud": "looma", "sub": f"user:{USER}", "org": str(ORG), "role": role,
        "sid": str(uuid4()), "iat": now, "nbf": now, "exp": now + 900, "jti": uuid4().hex,
    }  # fmt: skip
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


@dataclass
class FakeAuth:
    """What the gateway asks of the auth service; `wire` is where."""

    signers: list[Signer] = field(default_factory=lambda: [Signer.ed25519()])
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)  # SHA-256 → the key
    revoked: list[dict[str, Any]] = field(default_factory=list)
    openapi: dict[str, Any] = field(default_factory=lambda: {"paths": {}})
    jwks_asked: int = 0
    verify_asked: int = 0
    failing: bool = False

    def __post_init__(self) -> None:
        self.wire = Wire(self._answer)

    def token(self, role: str = "analyst", **changes: Any) -> str:
        return self.signers[0].sign(claims(role, **changes))

    def bearer(self, role: str = "analyst", **changes: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role, **changes)}"}

    def new_key(self, role: str = "service", mark: str = "looma_") -> str:
        secret = mark + uuid4().hex
        self.keys[hashlib.sha256(secret.encode()).hexdigest()] = {
            "org_id": str(ORG), "key_id": str(uuid4()), "role": role, "expires_at": None,
        }  # fmt: skip
        return secret

    def revoke(self, subject: str) -> dict[str, Any]:
        now = datetime.now(UTC)
        item = {
            "org_id": str(ORG),
            "subject": subject,
            "revoked_at": now.isoformat(),
            "expires_at": (now + timedelta(minutes=16)).isoformat(),
        }
        self.revoked.append(item)
        for digest in [d for d, key in self.keys.items() if f"key:{key['key_id']}" == subject]:
            del self.keys[digest]
        return item

    def change_key(self, secret: str, role: str) -> dict[str, Any]:
        """The key counts for something else from now on, as its owner does."""
        digest = hashlib.sha256(secret.encode()).hexdigest()
        changed = self.keys[digest] = {**self.keys[digest], "role": role}
        item = self.revoke(f"key:{changed['key_id']}")
        self.keys[digest] = changed
        return item

    async def _answer(self, received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(self._said(received))
        await writer.drain()

    def _said(self, received: Received) -> bytes:
        if received.header("x-internal-token") is None or self.failing:
            return json_answer({"error": "x"}, 503)
        match received.path:
            case "/.well-known/jwks.json":
                self.jwks_asked += 1
                return json_answer({"keys": [signer.jwk() for signer in self.signers]})
            case "/internal/v1/keys/verify":
                self.verify_asked += 1
                known = self.keys.get(orjson.loads(received.body)["hash"])
                if known is None:
                    return json_answer({"error": "not_found"}, 404)
                return json_answer({"code": 0, "data": known})
            case "/internal/v1/revocations":
                page = {
                    "items": self.revoked, "next_cursor": None,
                    "as_of": datetime.now(UTC).isoformat(),
                }  # fmt: skip
                return json_answer({"code": 0, "data": page})
            case "/health":
                return json_answer({"status": "alive"})
            case "/openapi.json":
                return json_answer(self.openapi)
            case _:
                said = {"method": received.method, "target": received.target}
                return json_answer({"code": 0, "data": said})
